//! Checking a whole copy of a log: entries, tiles and root.

use super::{
    Checkpoint, Hash, LogError, TILE_HASHES, decode_bundle, empty_root, entry_bundle_path, find_tile_path, leaf_hash,
    node_hash,
};

/// A copy of a log whose entries lead to its checkpoint's root. It holds every entry's hash, so this is for auditors
/// and not for the log's own work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    leaves: Vec<Hash>,
}

impl Audit {
    /// Reads a whole copy and recomputes it. `fetch` gives the bytes at a path such as `tile/0/000.p/5` or
    /// `tile/entries/000`, or nothing; where a partial one is gone, the full one is asked for.
    ///
    /// # Errors
    /// [`LogError::Missing`], [`LogError::Malformed`] for a tile that differs, [`LogError::Proof`] when the entries do
    /// not lead to the root, and those of `fetch`.
    pub fn of_copy(
        checkpoint: &Checkpoint,
        fetch: impl Fn(&str) -> Result<Option<Vec<u8>>, LogError>,
    ) -> Result<Self, LogError> {
        let get = |path: String, full: String| match fetch(&path)? {
            Some(bytes) => Ok(bytes),
            None => fetch(&full)?.ok_or(LogError::Missing(path)),
        };
        let mut leaves = Vec::new();
        while let Some(tile) = find_tile_path(0, leaves.len() as u64 / TILE_HASHES, checkpoint.size) {
            let bundle = get(
                entry_bundle_path(tile.index, tile.width),
                entry_bundle_path(tile.index, 256),
            )?;
            let entries = decode_bundle(&bundle)?;
            let wanted = entries
                .get(..usize::from(tile.width))
                .ok_or(LogError::Malformed("entry bundle"))?;
            leaves.extend(wanted.iter().map(|entry| leaf_hash(entry)));
            if !tile.is_full() {
                break;
            }
        }
        let audit = Self { leaves };
        if audit.root_at(checkpoint.size)? != checkpoint.root {
            return Err(LogError::Proof);
        }
        audit.check_tiles(checkpoint.size, get)?;
        Ok(audit)
    }

    fn check_tiles(
        &self,
        size: u64,
        get: impl Fn(String, String) -> Result<Vec<u8>, LogError>,
    ) -> Result<(), LogError> {
        let (mut level, mut hashes) = (0, self.leaves.clone());
        while !hashes.is_empty() {
            let mut above = Vec::new();
            for (index, row) in (0..).zip(hashes.chunks(256)) {
                let path = find_tile_path(level, index, size).ok_or(LogError::Range)?;
                if !get(path.to_string(), path.full().to_string())?.starts_with(row.as_flattened()) {
                    return Err(LogError::Malformed("tile"));
                }
                if path.is_full() {
                    above.push(root_of(row));
                }
            }
            (level, hashes) = (level + 1, above);
        }
        Ok(())
    }

    /// The root that the log had at an earlier size.
    ///
    /// # Errors
    /// [`LogError::Range`] beyond the copy's size.
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        let size = usize::try_from(size).map_err(|_| LogError::Range)?;
        self.leaves.get(..size).map(root_of).ok_or(LogError::Range)
    }

    /// Checks that this copy extends an earlier checkpoint.
    ///
    /// # Errors
    /// [`LogError::Range`] when the copy is smaller; [`LogError::Proof`] when it is another log.
    pub fn check_extends(&self, earlier: &Checkpoint) -> Result<(), LogError> {
        if self.root_at(earlier.size)? == earlier.root {
            Ok(())
        } else {
            Err(LogError::Proof)
        }
    }

    /// Checks that `entry` lies at `index`.
    ///
    /// # Errors
    /// [`LogError::Range`] or [`LogError::Proof`].
    pub fn check_entry(&self, index: u64, entry: &[u8]) -> Result<(), LogError> {
        let at = usize::try_from(index).map_err(|_| LogError::Range)?;
        if *self.leaves.get(at).ok_or(LogError::Range)? == leaf_hash(entry) {
            Ok(())
        } else {
            Err(LogError::Proof)
        }
    }
}

fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}
