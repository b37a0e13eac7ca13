//! A table for people.

use std::fmt::Write as _;

/// Columns as wide as their widest cell; nothing without rows.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let all: Vec<[&str; N]> = std::iter::once(head)
        .chain(rows.iter().map(|row| row.each_ref().map(String::as_str)))
        .collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in all {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        let line: String = cells.collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}
