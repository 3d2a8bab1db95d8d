// w[packed_index(i)] = x[i]
// x: n elements, row-major; w: a weight packed in float32, whose padding stays as it is. One invocation moves one
// element, one workgroup WG of them.
//!use fold
//!use packed
struct Params { n: u32, cols: u32, transposed: u32, blocks: u32, depth: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [n]
@group(0) @binding(2) var<storage, read_write> w: array<f32>;  // blocks

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i < p.n {
        w[packed_index(i, p.cols, p.transposed, p.blocks, p.depth)] = x[i];
    }
}
