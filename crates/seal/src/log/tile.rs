//! Tiles and entry bundles (<https://c2sp.org/tlog-tiles>).

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Hash, HashReader, LogError, node_hash, prove_consistency, prove_inclusion, tree_root};

/// How many hashes a full tile holds, and entries a full bundle.
pub const TILE_HASHES: u64 = 256;
const TILE_LEVELS: u8 = 8;
const HASH_BYTES: usize = 32;

/// Where a tile lies: `tile/<level>/<index>[.p/<width>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    /// The tile's level: its hashes cover `256^level` leaves each.
    pub level: u8,
    /// The tile's index within the level.
    pub index: u64,
    /// How many hashes it holds, 1 to 256; 256 is a full tile.
    pub width: u16,
}

impl TilePath {
    /// Whether the tile is complete and will never change.
    #[must_use]
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_HASHES
    }

    /// The full tile in the same place, which may have replaced a partial one.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: 256, ..self }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/{}", self.level, indexed(self.index, self.width))
    }
}

/// The path of an entry bundle: `tile/entries/<index>[.p/<width>]`.
#[must_use]
pub fn entry_bundle_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}", indexed(index, width))
}

/// `x001/x234/067`, with `.p/<width>` unless the width is 256.
fn indexed(index: u64, width: u16) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    if width < 256 { format!("{text}.p/{width}") } else { text }
}

/// The tile at `level` and `index` in a tree of `size` leaves, at the width it has there; nothing if it is empty.
#[must_use]
pub fn find_tile_path(level: u8, index: u64, size: u64) -> Option<TilePath> {
    let hashes = hashes_at(level, size);
    let width = hashes.saturating_sub(index.checked_mul(TILE_HASHES)?).min(TILE_HASHES);
    let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
    Some(TilePath { level, index, width })
}

/// How many complete subtrees of `256^level` leaves a tree has.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(TILE_LEVELS)).unwrap_or(0)
}

/// Every tile of a tree of `size` leaves, lowest level first.
pub fn tiles_of(size: u64) -> impl Iterator<Item = TilePath> {
    (0..TILE_LEVELS).flat_map(move |level| {
        let tiles = hashes_at(level, size).div_ceil(TILE_HASHES);
        (0..tiles).filter_map(move |index| find_tile_path(level, index, size))
    })
}

/// What a tree gains by growing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// The new number of leaves.
    pub size: u64,
    /// The new root.
    pub root: Hash,
    /// The tiles to write, lowest level first: those that became full, and the partial ones at the right edge.
    pub tiles: Vec<(TilePath, Vec<u8>)>,
}

/// Appends leaf hashes to a tree of `old_size` leaves. `reader` is asked for hashes of the old tree alone: those of
/// the right-most tile of each level, and the few that the root needs.
///
/// # Errors
/// [`LogError::Range`] beyond 2^63 leaves, and those of the reader.
pub fn grow(old_size: u64, new_leaves: &[Hash], reader: &(impl HashReader + ?Sized)) -> Result<Growth, LogError> {
    let size = old_size
        .checked_add(new_leaves.len() as u64)
        .filter(|size| *size < 1 << 63)
        .ok_or(LogError::Range)?;
    let mut tiles = Vec::new();
    let mut fresh = FreshHashes {
        old_size,
        reader,
        levels: Vec::new(),
    };
    let mut added = new_leaves.to_vec();
    for level in 0..TILE_LEVELS {
        let old_count = hashes_at(level, old_size);
        if added.is_empty() {
            break;
        }
        let first_tile = old_count / TILE_HASHES;
        let mut row = Vec::with_capacity(added.len() + 255);
        for index in first_tile * TILE_HASHES..old_count {
            row.push(reader.read(level * TILE_LEVELS, index)?);
        }
        row.append(&mut added);
        for (index, hashes) in (first_tile..).zip(row.chunks(256)) {
            let width = u16::try_from(hashes.len()).map_err(|_| LogError::Range)?;
            tiles.push((TilePath { level, index, width }, hashes.concat()));
            if hashes.len() as u64 == TILE_HASHES {
                added.push(fold(hashes).ok_or(LogError::Range)?);
            }
        }
        fresh.levels.push((first_tile * TILE_HASHES, row));
    }
    let root = tree_root(size, &fresh)?;
    Ok(Growth { size, root, tiles })
}

/// Reads from the rows that grew, and from the old tree for everything left of them.
struct FreshHashes<'a, R: ?Sized> {
    old_size: u64,
    reader: &'a R,
    /// Per tile level: the index of the first hash, and the hashes.
    levels: Vec<(u64, Vec<Hash>)>,
}

impl<R: HashReader + ?Sized> HashReader for FreshHashes<'_, R> {
    fn read(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        let beyond = |end: u64| end.checked_shl(u32::from(level)).is_none_or(|end| end > self.old_size);
        if !beyond(index + 1) {
            return self.reader.read(level, index);
        }
        let height = level % TILE_LEVELS;
        let (first, row) = self
            .levels
            .get(usize::from(level / TILE_LEVELS))
            .ok_or(LogError::Range)?;
        // Old rows begin at a tile's edge, so a subtree within a tile is wholly old or wholly here.
        let start = usize::try_from((index << height).checked_sub(*first).ok_or(LogError::Range)?);
        let start = start.map_err(|_| LogError::Range)?;
        row.get(start..start + (1 << height))
            .and_then(fold)
            .ok_or(LogError::Range)
    }
}

/// The hash over a power-of-two number of hashes.
fn fold(hashes: &[Hash]) -> Option<Hash> {
    if let [hash] = hashes {
        return Some(*hash);
    }
    let (left, right) = hashes.split_at_checked(hashes.len().div_ceil(2))?;
    if left.len() != right.len() {
        return None;
    }
    Some(node_hash(&fold(left)?, &fold(right)?))
}

/// The tiles that [`grow`] reads of a tree of `old_size` leaves, however many leaves are added: the partial ones.
#[must_use]
pub fn tiles_to_grow(old_size: u64) -> Vec<TilePath> {
    let partial = |level| find_tile_path(level, hashes_at(level, old_size) / TILE_HASHES, old_size);
    (0..TILE_LEVELS).filter_map(partial).collect()
}

/// The tiles that an inclusion proof of leaf `index` in the tree of `size` leaves needs, and its root.
///
/// # Errors
/// [`LogError::Range`].
pub fn tiles_to_prove_inclusion(index: u64, size: u64) -> Result<Vec<TilePath>, LogError> {
    TileList::of(size, |list| prove_inclusion(index, size, list))
}

/// The tiles that a consistency proof from `old_size` to `size` leaves needs, and the root at `size`.
///
/// # Errors
/// [`LogError::Range`].
pub fn tiles_to_prove_consistency(old_size: u64, size: u64) -> Result<Vec<TilePath>, LogError> {
    TileList::of(size, |list| prove_consistency(old_size, size, list))
}

/// Notes which tiles are read instead of reading them, so that a store that answers later can be asked beforehand.
struct TileList {
    size: u64,
    tiles: RefCell<BTreeSet<TilePath>>,
}

impl TileList {
    fn of<T>(size: u64, work: impl FnOnce(&Self) -> Result<T, LogError>) -> Result<Vec<TilePath>, LogError> {
        let list = Self {
            size,
            tiles: RefCell::default(),
        };
        work(&list)?;
        tree_root(size, &list)?;
        Ok(list.tiles.into_inner().into_iter().collect())
    }
}

impl HashReader for TileList {
    fn read(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        let place = Place::of(level, index, self.size)?;
        self.tiles.borrow_mut().insert(place.tile);
        Ok([0; HASH_BYTES])
    }
}

/// Where the hashes under a node lie.
struct Place {
    tile: TilePath,
    first: usize,
    count: usize,
}

impl Place {
    fn of(level: u8, index: u64, size: u64) -> Result<Self, LogError> {
        let height = level % TILE_LEVELS;
        let end = index
            .checked_add(1)
            .and_then(|end| end.checked_mul(1_u64.checked_shl(u32::from(level))?));
        if end.is_none_or(|end| end > size) {
            return Err(LogError::Range);
        }
        let first = index << height;
        let tile = find_tile_path(level / TILE_LEVELS, first / TILE_HASHES, size).ok_or(LogError::Range)?;
        let first = usize::try_from(first % TILE_HASHES).map_err(|_| LogError::Range)?;
        Ok(Self {
            tile,
            first,
            count: 1 << height,
        })
    }
}

/// Reads hashes out of stored tiles of a tree of a known size. `fetch` gives a tile's bytes or nothing; when a partial
/// tile is gone, the full one is asked for instead. Each tile is fetched once.
pub struct TileReader<F> {
    size: u64,
    fetch: F,
    seen: RefCell<BTreeMap<TilePath, Vec<Hash>>>,
}

impl<F: Fn(&TilePath) -> Result<Option<Vec<u8>>, LogError>> TileReader<F> {
    /// A reader for the tree of `size` leaves.
    pub fn new(size: u64, fetch: F) -> Self {
        Self {
            size,
            fetch,
            seen: RefCell::default(),
        }
    }

    fn get_tile(&self, path: TilePath) -> Result<Vec<Hash>, LogError> {
        let found = match (self.fetch)(&path)? {
            None if !path.is_full() => (self.fetch)(&path.full())?,
            found => found,
        };
        let tile = found.ok_or_else(|| LogError::Missing(path.to_string()))?;
        let (hashes, rest) = tile.as_chunks::<HASH_BYTES>();
        if hashes.len() < usize::from(path.width) || !rest.is_empty() {
            return Err(LogError::Malformed("tile"));
        }
        Ok(hashes.to_vec())
    }
}

impl<F: Fn(&TilePath) -> Result<Option<Vec<u8>>, LogError>> HashReader for TileReader<F> {
    fn read(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        let place = Place::of(level, index, self.size)?;
        if !self.seen.borrow().contains_key(&place.tile) {
            let hashes = self.get_tile(place.tile)?;
            self.seen.borrow_mut().insert(place.tile, hashes);
        }
        let seen = self.seen.borrow();
        let under = seen
            .get(&place.tile)
            .and_then(|hashes| hashes.get(place.first..place.first + place.count));
        under.and_then(fold).ok_or(LogError::Malformed("tile"))
    }
}

impl<F> fmt::Debug for TileReader<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TileReader")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Writes entries as a bundle: each behind its length as a big-endian u16.
///
/// # Errors
/// [`LogError::EntryTooLarge`]; [`LogError::Range`] for none or more than 256 entries.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, LogError> {
    if entries.is_empty() || entries.len() as u64 > TILE_HASHES {
        return Err(LogError::Range);
    }
    let mut bundle = Vec::new();
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| LogError::EntryTooLarge)?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// Reads a bundle's entries.
///
/// # Errors
/// [`LogError::Malformed`] when it ends inside an entry, or holds none or more than 256.
pub fn decode_bundle(mut bundle: &[u8]) -> Result<Vec<&[u8]>, LogError> {
    let malformed = LogError::Malformed("entry bundle");
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>().ok_or_else(|| malformed.clone())?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or_else(|| malformed.clone())?;
        entries.push(entry);
        bundle = rest;
    }
    if entries.is_empty() || entries.len() as u64 > TILE_HASHES {
        Err(malformed)
    } else {
        Ok(entries)
    }
}
