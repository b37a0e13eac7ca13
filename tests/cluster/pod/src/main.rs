//! What the pods of tests run, in one static binary: `pause` (holds a pod's namespaces), `serve PORT`
//! (answers each connection with the name of the pod and the address of who asks) and
//! `get HOST:PORT` (prints such an answer).

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["pause"] => pause(),
        ["serve", port] => serve(port),
        ["get", address] => get(address),
        _ => Err(io::Error::other("usage: pause | serve PORT | get HOST:PORT")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn pause() -> io::Result<()> {
    loop {
        std::thread::park();
    }
}

fn serve(port: &str) -> io::Result<()> {
    let port = port.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    loop {
        let (stream, peer) = listener.accept()?;
        // One who asks and leaves is no reason to end.
        if let Err(error) = answer(stream, peer, name.trim()) {
            eprintln!("{peer}: {error}");
        }
    }
}

fn answer(mut stream: TcpStream, peer: SocketAddr, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    // The request is read, lest closing resets the connection; a probe that only connects has none.
    let _read = stream.read(&mut [0; 4096])?;
    let body = format!("{name} {}\n", peer.ip().to_canonical());
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn get(address: &str) -> io::Result<()> {
    let mut addresses = address.to_socket_addrs()?;
    let address = addresses.next().ok_or_else(|| io::Error::other("a name without address"))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    print!("{body}");
    Ok(())
}
