// dx[b,i,j,c] = dy[b, i / side, j / side, c] / side², the gradient of avgpool2d; 0 beyond the last whole window
// dx, dy: images with the channels last.
// One invocation makes one of the n elements of dx, one workgroup WG of them.
//!use fold
struct Params { n: u32, height: u32, width: u32, channels: u32, side: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;        // [batch, height / side, width / side, channels]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;  // [batch, height, width, channels]

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
    let cell = i / p.channels;
    let col = cell % p.width / p.side;
    let row = cell / p.width % p.height / p.side;
    if col >= cols || row >= rows {
        dx[i] = 0.0;
        return;
    }
    let b = cell / (p.width * p.height);
    dx[i] = dy[((b * rows + row) * cols + col) * p.channels + i % p.channels] / f32(p.side * p.side);
}
