// average += rate·(w − average), unless factor = 0
// One step of the moving averages of a slab of parameters, which lie as their parameters do; w may hold others, too.
// One invocation updates one element, one workgroup WG of one parameter.
//!use fold
//!use slab
struct Params { n: u32, records: u32, rate: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> records: array<u32>;        // see slab.wgsl
@group(0) @binding(3) var<storage, read> factor: array<f32>;         // [1]
@group(0) @binding(4) var<storage, read_write> average: array<f32>;  // [n]

const WG = 256u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group_index(wg) * WG;
    if first >= p.n || factor[0u] == 0.0 {
        return;
    }
    let i = first + lane;
    let r = record_of(first);
    if i >= p.n || gradient_of(i, panel_in(first, r), r) == NOWHERE {
        return;
    }
    let at = parameter_of(i, r);
    average[i] = fma(p.rate, w[at] - average[i], average[i]);
}
