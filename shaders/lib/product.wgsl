// What the kernels of products of matrices share.
// All three are strided: element (i, h, r, s) lies at base + i·batch + h·head + r·row + s·col. So an operand may be
// transposed, or be the heads inside rows. A stride of 0 shares it among all i or h.
struct Params {
    m: u32, n: u32, k: u32,
    groups: u32, heads: u32,  // groups counts the pairs (i, h)
    a_base: u32, a_batch: u32, a_head: u32, a_row: u32, a_col: u32,
    b_base: u32, b_batch: u32, b_head: u32, b_row: u32, b_col: u32,
    c_base: u32, c_batch: u32, c_head: u32, c_row: u32, c_col: u32,
    alpha: f32,
    has_bias: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;        // groups × [m, k]
@group(0) @binding(2) var<storage, read> b: array<f32>;        // groups × [k, n]
@group(0) @binding(3) var<storage, read> bias: array<f32>;     // [n], absent unless has_bias
@group(0) @binding(4) var<storage, read_write> c: array<f32>;  // groups × [m, n]
