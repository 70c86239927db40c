//! Roots and Merkle proofs (RFC 6962, 2.1; verification as in RFC 9162, 2.1.3.2 and 2.1.4.2).

use super::{Hash, HashReader, LogError, empty_root, node_hash};

/// The root of the tree of the first `size` leaves.
///
/// # Errors
/// Those of the reader.
pub fn tree_root(size: u64, reader: &(impl HashReader + ?Sized)) -> Result<Hash, LogError> {
    if size == 0 {
        Ok(empty_root())
    } else {
        subtree(0, size, reader)
    }
}

/// The hashes that lead from leaf `index` to the root of the tree of `size` leaves, from the leaf upwards.
///
/// # Errors
/// [`LogError::Range`], and those of the reader.
pub fn prove_inclusion(index: u64, size: u64, reader: &(impl HashReader + ?Sized)) -> Result<Vec<Hash>, LogError> {
    if index >= size {
        return Err(LogError::Range);
    }
    let (mut start, mut end) = (0, size);
    let mut hashes = Vec::new();
    while end - start > 1 {
        let middle = start + split_point(end - start);
        if index < middle {
            hashes.push(subtree(middle, end, reader)?);
            end = middle;
        } else {
            hashes.push(subtree(start, middle, reader)?);
            start = middle;
        }
    }
    hashes.reverse();
    Ok(hashes)
}

/// The hashes that show the tree of `old_size` leaves to be a prefix of the tree of `size` leaves. Empty when either
/// is empty or both are equal.
///
/// # Errors
/// [`LogError::Range`] when `old_size` exceeds `size`, and those of the reader.
pub fn prove_consistency(old_size: u64, size: u64, reader: &(impl HashReader + ?Sized)) -> Result<Vec<Hash>, LogError> {
    if old_size > size {
        return Err(LogError::Range);
    }
    let mut hashes = Vec::new();
    if old_size == 0 || old_size == size {
        return Ok(hashes);
    }
    let (mut start, mut end) = (0, size);
    while old_size != end {
        let middle = start + split_point(end - start);
        if old_size <= middle {
            hashes.push(subtree(middle, end, reader)?);
            end = middle;
        } else {
            hashes.push(subtree(start, middle, reader)?);
            start = middle;
        }
    }
    if start != 0 {
        hashes.push(subtree(start, end, reader)?);
    }
    hashes.reverse();
    Ok(hashes)
}

/// Checks an inclusion proof.
///
/// # Errors
/// [`LogError::Range`] or [`LogError::Proof`].
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), LogError> {
    if index >= size {
        return Err(LogError::Range);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(LogError::Proof);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root {
        Ok(())
    } else {
        Err(LogError::Proof)
    }
}

/// Checks that the tree with `old_root` is a prefix of the tree with `root`.
///
/// # Errors
/// [`LogError::Range`] when `old_size` exceeds `size`; [`LogError::Proof`].
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), LogError> {
    if old_size > size {
        return Err(LogError::Range);
    }
    if old_size == size || old_size == 0 {
        let expected = if old_size == size { root } else { &empty_root() };
        return if proof.is_empty() && old_root == expected {
            Ok(())
        } else {
            Err(LogError::Proof)
        };
    }
    let mut hashes = proof.iter();
    // A complete old tree is a node of the new one, and its root begins the walk in place of the first hash.
    let first = if old_size.is_power_of_two() {
        Some(old_root)
    } else {
        hashes.next()
    };
    let first = first.ok_or(LogError::Proof)?;
    let trailing = (old_size - 1).trailing_ones();
    let (mut node, mut last) = ((old_size - 1) >> trailing, (size - 1) >> trailing);
    let (mut old, mut new) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(LogError::Proof);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && old == *old_root && new == *root {
        Ok(())
    } else {
        Err(LogError::Proof)
    }
}

/// The largest power of two below `leaves`, which is at least 2.
fn split_point(leaves: u64) -> u64 {
    1 << (u64::BITS - 1 - (leaves - 1).leading_zeros())
}

/// The hash over the leaves `start..end`, where `start` is a multiple of a power of two not below their number.
fn subtree(start: u64, end: u64, reader: &(impl HashReader + ?Sized)) -> Result<Hash, LogError> {
    let leaves = end - start;
    if leaves.is_power_of_two() {
        let level = leaves.trailing_zeros();
        return reader.read(u8::try_from(level).map_err(|_| LogError::Range)?, start >> level);
    }
    let middle = start + split_point(leaves);
    let right = subtree(middle, end, reader)?;
    Ok(node_hash(&subtree(start, middle, reader)?, &right))
}
