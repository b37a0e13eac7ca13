//! From the API server's answer to a new HTTPRoute until the first request is answered by it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::objects::{Objects, host, to_blue};

const PATIENCE: Duration = Duration::from_secs(20);

/// Times, sorted.
#[derive(Debug)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    fn mean(&self) -> Duration {
        self.0.iter().sum::<Duration>() / u32::try_from(self.0.len()).unwrap_or(1).max(1)
    }

    pub(crate) fn json(&self) -> Value {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let most = self.0.last().copied().unwrap_or_default();
        json!({ "samples": self.0.len(), "mean_ms": ms(self.mean()), "max_ms": ms(most) })
    }
}

/// One new route after the other, each to a host of its own; each is deleted when it was served.
pub(crate) async fn measure(
    objects: &Objects,
    address: SocketAddr,
    samples: usize,
) -> Result<Times> {
    let mut times = Vec::new();
    for i in 0..samples {
        let name = format!("timed{i}");
        let mut client = Client::connect(address)?;
        ensure!(client.status(&host(&name))? == 404, "{name} is there already");
        objects.route(&name, to_blue()).await?;
        let start = Instant::now();
        while client.status(&host(&name))? != 200 {
            ensure!(start.elapsed() < PATIENCE, "{name} is not served");
            std::thread::sleep(Duration::from_micros(500));
        }
        times.push(start.elapsed());
        objects.delete(&name).await?;
        while client.status(&host(&name))? != 404 {
            ensure!(start.elapsed() < PATIENCE, "{name} does not go");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    times.sort_unstable();
    Ok(Times(times))
}

/// A connection that stays.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The status that a host is answered with.
    fn status(&mut self, host: &str) -> Result<u16> {
        write!(self.0.get_mut(), "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "the connection was closed");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse()?;
            } else if status.is_none() {
                status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
            }
        }
        self.0.read_exact(&mut vec![0; length])?;
        status.context("no status")
    }
}
