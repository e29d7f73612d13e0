//! Columns: text with tabs becomes aligned text, exactly as docker's tables look.

use unicode_width::UnicodeWidthStr;

/// No column is narrower than this, the space after it included.
const WIDTH_MIN: usize = 10;

/// Spaces between columns.
const PADDING: usize = 3;

/// Aligns the cells of `text`, which end with tabs; what follows the last tab of a line is not
/// part of a column. A column reaches over neighbouring lines that have it.
pub fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let widths = column_widths(&lines);
    let mut aligned = String::with_capacity(text.len() * 2);
    for (index, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if index > 0 {
            aligned.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            aligned.push_str(cell);
            let width = widths.get(column).copied().unwrap_or(0);
            aligned.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width())));
        }
    }
    aligned
}

/// The width of each column of each line; a run of lines shares it.
fn column_widths(lines: &[Vec<&str>]) -> Vec<Vec<usize>> {
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut first = 0;
        while first < lines.len() {
            let length = widths[first..].iter().take_while(|columns| column < columns.len()).count();
            let run = first..first + length;
            let widest = lines[run.clone()].iter().map(|cells| cells[column].width() + PADDING).max();
            let width = widest.unwrap_or(0).max(WIDTH_MIN);
            widths[run].iter_mut().for_each(|columns| columns[column] = width);
            first += length.max(1);
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_as_docker_draws_them() {
        let text = "CONTAINER ID\tIMAGE\tSTATUS\nabc\talpine:3.20-long\tUp\n漢字\tx\tExited\n";
        assert_eq!(
            align(text),
            "CONTAINER ID   IMAGE              STATUS\n\
             abc            alpine:3.20-long   Up\n\
             漢字           x                  Exited\n"
        );
    }

    #[test]
    fn columns_end_where_lines_lack_them() {
        assert_eq!(align("a\tb\nplain\nlonger cell\tc\n"), "a         b\nplain\nlonger cell   c\n");
        assert_eq!(align("a\t\nb\tc\td"), "a         \nb         c         d");
        assert_eq!(align(""), "");
    }
}
