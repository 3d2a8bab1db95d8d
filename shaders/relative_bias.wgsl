// y[w,h,q,k] = table[(qy − ky + height − 1)·(2·width − 1) + qx − kx + width − 1, h] + mask[w,q,k]
// The bias of attention by how far apart two tokens of a window are. A window has height by width tokens; q and k count
// them row by row, behind prefix tokens, which have no bias. An image has rows by cols windows. mask is −100 between
// tokens that only the shift of the image has made neighbours, which happens in the last row and the last column of
// windows; else it is 0.
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params {
    n: u32, heads: u32, height: u32, width: u32, prefix: u32,
    rows: u32, cols: u32, shift_y: u32, shift_x: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<f32>;    // [(2·height − 1)·(2·width − 1), heads]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [windows, heads, tokens, tokens]

const WG = 64u;

// apart tells tokens at q and k on an axis of size that lie on two sides of the seam.
fn apart(q: u32, k: u32, size: u32, shift: u32) -> bool {
    return shift > 0u && (q + shift >= size) != (k + shift >= size);
}

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let tokens = p.prefix + p.height * p.width;
    if i % tokens < p.prefix || i / tokens % tokens < p.prefix {
        y[i] = 0.0;
        return;
    }
    let k = i % tokens - p.prefix;
    let q = i / tokens % tokens - p.prefix;
    let head = i / (tokens * tokens) % p.heads;
    let window = i / (tokens * tokens * p.heads);
    let qy = q / p.width;
    let qx = q % p.width;
    let ky = k / p.width;
    let kx = k % p.width;
    let row = (qy + p.height - 1u - ky) * (2u * p.width - 1u) + qx + p.width - 1u - kx;
    var mask = 0.0;
    if window / p.cols == p.rows - 1u && apart(qy, ky, p.height, p.shift_y) {
        mask = -100.0;
    }
    if window % p.cols == p.cols - 1u && apart(qx, kx, p.width, p.shift_x) {
        mask = -100.0;
    }
    y[i] = table[row * p.heads + head] + mask;
}
