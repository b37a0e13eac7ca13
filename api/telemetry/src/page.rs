//! How a metrics page is written.

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text format 0.0.4.
    Prometheus,
}

impl PageFormat {
    /// `Content-Type` of the page.
    pub fn content_type(self) -> &'static str {
        match self {
            PageFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            PageFormat::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}
