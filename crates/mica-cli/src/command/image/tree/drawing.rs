//! The picture itself: one stack, top first, as text.

use crate::command::image::{ellipsis, short_id, size};
use crate::output::ui::escape_control;
use mica_api::types::image::{ImageTree, TreeContainer, TreeLayer};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr;

/// Columns for what made a layer, as in `history`.
const CREATED_BY_WIDTH: usize = 45;

/// The strokes of a picture.
#[derive(Debug)]
pub(super) struct Glyphs {
    branch: &'static str,
    last: &'static str,
    stem: &'static str,
}

/// With box characters.
pub(super) const UNICODE: Glyphs = Glyphs { branch: "├─ ", last: "└─ ", stem: "│  " };

/// For locales without them.
pub(super) const ASCII: Glyphs = Glyphs { branch: "|- ", last: "`- ", stem: "|  " };

/// How to draw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawing {
    /// The strokes.
    pub(super) glyphs: &'static Glyphs,
    /// Whether ids and commands are shortened.
    pub(super) is_truncated: bool,
}

/// One level of a stack: a line, and remarks below it.
struct Level {
    name: String,
    size: String,
    what: String,
    remarks: Vec<String>,
}

impl Drawing {
    /// Draws one image: its title, the writable layers of its containers, its layers from the
    /// top to the base.
    pub(super) fn stack(self, tree: &ImageTree) -> String {
        let levels: Vec<Level> = tree
            .containers
            .iter()
            .map(container_level)
            .chain(tree.layers.iter().rev().map(|layer| self.layer_level(layer)))
            .collect();
        let name_width = levels.iter().map(|level| level.name.width()).max().unwrap_or(0);
        let size_width = levels.iter().map(|level| level.size.width()).max().unwrap_or(0);
        let mut text = self.title(tree);
        for (index, level) in levels.iter().enumerate() {
            let is_last = index + 1 == levels.len();
            let head = if is_last { self.glyphs.last } else { self.glyphs.branch };
            let stem = if is_last { "   " } else { self.glyphs.stem };
            let pad = name_width - level.name.width();
            let line =
                format!("{head}{}{:pad$}   {:>size_width$}   {}", level.name, "", level.size, level.what);
            let _ = writeln!(text, "{}", line.trim_end());
            for remark in &level.remarks {
                let _ = writeln!(text, "{stem}  {remark}");
            }
        }
        text
    }

    fn title(self, tree: &ImageTree) -> String {
        let id = self.id(&tree.id);
        let names = if tree.names.is_empty() { "<none>".to_owned() } else { escaped_list(&tree.names) };
        let count = tree.layers.len();
        let layers = if count == 1 { "layer" } else { "layers" };
        format!(
            "{names}  {id}  {} in {count} {layers}, {} not shared\n",
            size(tree.size),
            size(tree.unique_size)
        )
    }

    fn layer_level(self, layer: &TreeLayer) -> Level {
        let created_by = escape_control(&layer.created_by.replace('\t', " ")).into_owned();
        let created_by = if self.is_truncated { ellipsis(&created_by, CREATED_BY_WIDTH) } else { created_by };
        let entries = if layer.entry_count == 1 { "entry" } else { "entries" };
        let mut remarks = Vec::new();
        if !layer.shared_images.is_empty() {
            remarks.push(format!("shared with images: {}", escaped_list(&layer.shared_images)));
        }
        if !layer.shared_containers.is_empty() {
            remarks.push(format!("below containers: {}", escaped_list(&layer.shared_containers)));
        }
        remarks.push(layer.path.clone());
        Level {
            name: self.id(&layer.diff_id),
            size: size(layer.size),
            what: format!("{} {entries}   {created_by}", layer.entry_count),
            remarks,
        }
    }

    fn id(self, id: &str) -> String {
        if self.is_truncated { short_id(id).to_owned() } else { id.to_owned() }
    }
}

fn container_level(container: &TreeContainer) -> Level {
    Level {
        name: escape_control(&container.name).into_owned(),
        size: size(container.size),
        what: format!("writable layer of a container, {}", container.state),
        remarks: vec![container.path.clone()],
    }
}

fn escaped_list(names: &[String]) -> String {
    escape_control(&names.join(", ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(digit: &str, size: u64, created_by: &str) -> TreeLayer {
        TreeLayer {
            diff_id: format!("sha256:{}", digit.repeat(64)),
            size,
            entry_count: 1,
            created_by: created_by.to_owned(),
            created: 0,
            path: format!("/m/{digit}"),
            shared_images: Vec::new(),
            shared_containers: Vec::new(),
        }
    }

    fn tree() -> ImageTree {
        let base = TreeLayer {
            entry_count: 400,
            shared_images: vec!["db:2".to_owned()],
            shared_containers: vec!["c1".to_owned()],
            ..layer("a", 120_000_000, "ADD rootfs.tar /")
        };
        ImageTree {
            id: format!("sha256:{}", "c".repeat(64)),
            names: vec!["web:1".to_owned(), "web:\u{1b}[2J".to_owned()],
            size: 120_000_012,
            unique_size: 12,
            containers: vec![TreeContainer {
                name: "c1".to_owned(),
                state: "running".to_owned(),
                size: 4100,
                path: "/m/c1".to_owned(),
            }],
            layers: vec![base, layer("b", 12, "COPY \t. /srv")],
        }
    }

    #[test]
    fn stacks_stand_on_their_base() {
        let drawn = Drawing { glyphs: &UNICODE, is_truncated: true }.stack(&tree());
        let expected = "\
web:1, web:\\x1b[2J  cccccccccccc  120MB in 2 layers, 12B not shared
├─ c1             4.1kB   writable layer of a container, running
│    /m/c1
├─ bbbbbbbbbbbb     12B   1 entry   COPY  . /srv
│    /m/b
└─ aaaaaaaaaaaa   120MB   400 entries   ADD rootfs.tar /
     shared with images: db:2
     below containers: c1
     /m/a
";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn plain_locales_get_plain_strokes() {
        let drawn = Drawing { glyphs: &ASCII, is_truncated: false }.stack(&tree());
        assert!(drawn.is_ascii(), "{drawn}");
        assert!(drawn.contains(&format!("`- sha256:{}", "a".repeat(64))), "{drawn}");
    }
}
