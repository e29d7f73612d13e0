//! Chain ids: one digest for a layer together with all below it (OCI image-spec `config.md`).

use crate::document::digest_of;
use mica_model::Digest;

/// The chain id of each layer, base first: the first is its diffID, each further one the digest of
/// `"<chain id below> <diffID>"`.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            Some(below) => digest_of(format!("{below} {diff_id}").as_bytes()),
            None => *diff_id,
        };
        chain.push(id);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_from_the_base() {
        let (base, top) = (digest_of(b"base"), digest_of(b"top"));
        let expected = digest_of(format!("sha256:{} sha256:{}", base.hex(), top.hex()).as_bytes());
        assert_eq!(chain_ids(&[base, top]), [base, expected]);
        assert_eq!(chain_ids(&[]), []);
    }
}
