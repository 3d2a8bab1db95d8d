// y[b,i,j, (c·side_h + v)·side_w + u] = x[b, stride·i + v − pad, stride·j + u − pad, c], 0 outside x
// x: an image with the channels last; y: its windows, each flattened as an OIHW convolution weight is.
// One invocation makes one channel of one window, which lie side by side in y; one workgroup WG of the n.
//!use fold
struct Params {
    n: u32, height: u32, width: u32, channels: u32,
    rows: u32, cols: u32, stride: u32, pad: u32, side_h: u32, side_w: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [batch, height, width, channels]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [batch, rows, cols, channels·side_h·side_w]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let cell = i / p.channels;
    let c = i % p.channels;
    // Above or left of x the differences wrap around to great numbers.
    let top = cell / p.cols % p.rows * p.stride - p.pad;
    let left = cell % p.cols * p.stride - p.pad;
    let image = cell / (p.cols * p.rows) * p.height;
    var at = i * p.side_h * p.side_w;
    for (var row = top; row != top + p.side_h; row++) {
        for (var col = left; col != left + p.side_w; col++) {
            var v = 0.0;
            if row < p.height && col < p.width {
                v = x[((image + row) * p.width + col) * p.channels + c];
            }
            y[at] = v;
            at++;
        }
    }
}
