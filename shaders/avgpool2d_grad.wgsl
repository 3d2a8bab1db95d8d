// dx[b,h,w,c] = Σ dy[b,i,j,c] / count[i,j] over the windows i, j that see h, w; count of a window's pixels lie in x
// The gradient of avgpool2d, in one fixed order.
// One invocation makes one of the n elements of dx, one workgroup WG of them.
//!use fold
struct Params { n: u32, height: u32, width: u32, channels: u32, rows: u32, cols: u32, stride: u32, pad: u32, side: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;        // [batch, rows, cols, channels]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;  // [batch, height, width, channels]

const WG = 64u;

// seen is how many pixels of window i lie in x, along an axis of length pixels.
fn seen(i: u32, length: u32) -> u32 {
    let first = i * p.stride;  // counted from the padding
    return min(first + p.side, length + p.pad) - max(first, p.pad);
}

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let c = i % p.channels;
    let cell = i / p.channels;
    let col = cell % p.width + p.pad;
    let row = cell / p.width % p.height + p.pad;
    let b = cell / (p.width * p.height);
    var sum = 0.0;
    for (var v = 0u; v < p.side; v++) {
        let from_row = (row - v) / p.stride;
        if row < v || from_row * p.stride + v != row || from_row >= p.rows {
            continue;
        }
        for (var u = 0u; u < p.side; u++) {
            let from_col = (col - u) / p.stride;
            if col < u || from_col * p.stride + u != col || from_col >= p.cols {
                continue;
            }
            let count = seen(from_row, p.height) * seen(from_col, p.width);
            sum += dy[((b * p.rows + from_row) * p.cols + from_col) * p.channels + c] / f32(count);
        }
    }
    dx[i] = sum;
}
