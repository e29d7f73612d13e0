//! The near miss: which known word somebody meant.

/// The known word that is nearest to what was typed, when it is near enough.
pub(crate) fn nearest<'known>(typed: &str, known: &[&'known str]) -> Option<&'known str> {
    let typed = typed.to_lowercase();
    let limit = if typed.chars().count() <= 3 { 1 } else { 2 };
    let near = known.iter().map(|word| (distance(&typed, &word.to_lowercase()), *word));
    near.filter(|(distance, _)| (1..=limit).contains(distance))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters have to be put in, left out, changed or swapped with the next.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().take(64).collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut next = vec![i];
        for j in 1..=right.len() {
            let change = row[j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = change.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found() {
        let known = ["FROM", "RUN", "COPY", "ENV"];
        assert_eq!(nearest("FORM", &known), Some("FROM"));
        assert_eq!(nearest("runn", &known), Some("RUN"));
        assert_eq!(nearest("COYP", &known), Some("COPY"));
        assert_eq!(nearest("SOMETHING", &known), None);
        assert_eq!(nearest("X", &known), None);
    }
}
