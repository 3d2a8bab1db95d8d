// Where a packed weight's elements lie (package packing): blocks of 4 k × 4 n, PANEL of them side by side in n a panel.
const PANEL = 8u;  //!replace

// block_at(n, k, blocks, depth) is where block n along N and k along K lies, of a weight of so many blocks along N and
// rows of blocks in a panel.
fn block_at(n: u32, k: u32, blocks: u32, depth: u32) -> u32 {
    let panel = n / PANEL * PANEL;
    return panel * depth + k * min(PANEL, blocks - panel) + n % PANEL;
}

// element_at(n, k, blocks, depth) is where element n along N and k along K of a weight in float32 lies.
fn element_at(n: u32, k: u32, blocks: u32, depth: u32) -> u32 {
    return 16u * block_at(n / 4u, k / 4u, blocks, depth) + k % 4u * 4u + n % 4u;
}

// packed_index(i, cols, transposed, blocks, depth) is where element i of a row-major [N, K] of so many columns
// lies, or of [K, N]. With 0 blocks nothing is packed.
fn packed_index(i: u32, cols: u32, transposed: u32, blocks: u32, depth: u32) -> u32 {
    if blocks == 0u {
        return i;
    }
    if transposed != 0u {
        return element_at(i % cols, i / cols, blocks, depth);
    }
    return element_at(i / cols, i % cols, blocks, depth);
}

// NOWHERE is what source gives for padding.
const NOWHERE = 0xffffffffu;

// panel_of(at, blocks, depth) is the number of the panel that an element lies in.
fn panel_of(at: u32, blocks: u32, depth: u32) -> u32 {
    if blocks == 0u {
        return 0u;
    }
    return at / 16u / (PANEL * depth);
}

// source(at, near, cols, transposed, blocks, depth) is the element that lies there: packed_index's inverse. near is the panel of
// at or one shortly before: the division that finds it takes many instructions. Padding beyond the last column is
// NOWHERE, other padding beyond the last element.
fn source(at: u32, near: u32, cols: u32, transposed: u32, blocks: u32, depth: u32) -> u32 {
    if blocks == 0u {
        return at;
    }
    let block = at / 16u;
    var number = near;
    while block >= (number + 1u) * PANEL * depth {
        number++;
    }
    let panel = number * PANEL;
    if panel >= blocks {
        return NOWHERE;
    }
    let width = min(PANEL, blocks - panel);
    let within = block - panel * depth;
    var row = within / PANEL;
    if width < PANEL {
        row = within / width;
    }
    let n = 4u * (panel + within - row * width) + at % 4u;
    let k = 4u * row + at / 4u % 4u;
    let col = select(k, n, transposed != 0u);
    return select(select(n, k, transposed != 0u) * cols + col, NOWHERE, col >= cols);
}
