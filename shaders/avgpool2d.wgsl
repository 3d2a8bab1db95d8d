// y[b,i,j,c] = 1/side² · Σ_{v,u < side} x[b, side·i + v, side·j + u, c]
// x, y: images with the channels last. Rows and columns of x beyond the last whole window take no part.
// One invocation makes one of the n elements of y, one workgroup WG of them.
//!use fold
struct Params { n: u32, height: u32, width: u32, channels: u32, side: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [batch, height, width, channels]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [batch, height / side, width / side, channels]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let cols = p.width / p.side;
    let rows = p.height / p.side;
    let c = i % p.channels;
    let cell = i / p.channels;
    let row = cell / cols % rows * p.side;
    let first = ((cell / (cols * rows) * p.height + row) * p.width + cell % cols * p.side) * p.channels + c;
    var sum = 0.0;
    for (var v = 0u; v < p.side; v++) {
        for (var u = 0u; u < p.side; u++) {
            sum += x[first + (v * p.width + u) * p.channels];
        }
    }
    y[i] = sum / f32(p.side * p.side);
}
