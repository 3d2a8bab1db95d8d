// y[i] = scale · x[i] where word i/run of the random stream is above limit, else 0
// x, y: n elements; run neighbours share a word and stay or go together. One invocation makes one element, one
// workgroup WG of them.
//!use fold
//!use random
struct Params { n: u32, run: u32, stream: u32, limit: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [n]
@group(0) @binding(2) var<storage, read> seed: array<u32>;     // [2]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [n]

const WG = 64u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wg) * WG + lane;
    if i >= p.n {
        return;
    }
    let word = random_word(vec2<u32>(seed[0], seed[1]), p.stream, i / p.run);
    y[i] = select(0.0, p.scale * x[i], word > p.limit);
}
