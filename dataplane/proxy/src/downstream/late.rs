//! The answer to a request whose head did not come in time.

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// For the client to take the few bytes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says so and ends the connection: "a server ... did not receive a complete request message within
/// the time that it was prepared to wait" (RFC 9110, section 15.5.9). There is no request yet that
/// could be answered in the usual way.
pub(super) async fn answer_late_head(mut io: impl AsyncWrite + Unpin) {
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
    let answer = format!(
        "HTTP/1.1 408 Request Timeout\r\ndate: {}\r\nconnection: close\r\ncontent-length: 0\r\n\
         x-penstock-reason: header-timeout\r\n\r\n",
        date.unwrap_or_default()
    );
    let said = async {
        io.write_all(answer.as_bytes()).await?;
        io.shutdown().await
    };
    // Whoever is gone by now need not be told.
    let _ = tokio::time::timeout(PATIENCE, said).await;
}
