// dx[b,h,w,c] = Σ dy[b,i,j,o] · w[v,u,o] over all stride·i + v − pad = h, stride·j + u − pad = w and o / mult = c
// The gradient of x of a depthwise convolution, in one fixed order.
// One invocation makes one of the n elements of dx, one workgroup WG of them.
//!use fold
struct Params {
    n: u32, height: u32, width: u32, channels: u32,
    rows: u32, cols: u32, stride: u32, pad: u32, side_h: u32, side_w: u32, mult: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;        // [batch, rows, cols, channels·mult]
@group(0) @binding(2) var<storage, read> w: array<f32>;         // [side_h, side_w, channels·mult]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;  // [batch, height, width, channels]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let first = i % p.channels * p.mult;
    let cell = i / p.channels;
    let col = cell % p.width + p.pad;
    let row = cell / p.width % p.height + p.pad;
    let b = cell / (p.width * p.height);
    let out = p.channels * p.mult;
    var sum = 0.0;
    for (var v = 0u; v < p.side_h; v++) {
        let from_row = (row - v) / p.stride;
        if row < v || from_row * p.stride + v != row || from_row >= p.rows {
            continue;
        }
        for (var u = 0u; u < p.side_w; u++) {
            let from_col = (col - u) / p.stride;
            if col < u || from_col * p.stride + u != col || from_col >= p.cols {
                continue;
            }
            let at = ((b * p.rows + from_row) * p.cols + from_col) * out + first;
            let tap = (v * p.side_w + u) * out + first;
            for (var k = 0u; k < p.mult; k++) {
                sum = fma(dy[at + k], w[tap + k], sum);
            }
        }
    }
    dx[i] = sum;
}
