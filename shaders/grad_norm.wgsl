// partial[at + w] = Σ grad[i]² over the elements i of group w that belong to a parameter
// The first pass of the norm of all gradients, over one slab of them or one chunk of a long one; gradients are row-major.
// What lies between parameters is undefined and is left out. One workgroup makes one sum over SPAN elements.
//!use fold
//!use slab
//!use reduce
struct Params { n: u32, records: u32, at: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<f32>;                // [n]
@group(0) @binding(2) var<storage, read> records: array<u32>;             // see slab.wgsl
@group(0) @binding(3) var<storage, read_write> partial_sums: array<f32>;  // of all slabs

const WG = 32u;
const SPAN = 16384u;

//!tile SPAN
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg);
    if group * SPAN >= p.n {
        return;
    }
    let end = min((group + 1u) * SPAN, p.n);
    var sums = vec4<f32>(0.0);
    var first = group * SPAN;
    while first < end {
        let r = record_of(first);
        let used = min(records[r] + records[r + 2u], end);  // where the parameter's gradient ends
        for (var i = first + lane; i < used; i += 4u * WG) {
            let at = vec4<u32>(i) + vec4<u32>(0u, WG, 2u * WG, 3u * WG);
            let near = min(at, vec4<u32>(used - 1u));
            let x = vec4<f32>(grad[near.x], grad[near.y], grad[near.z], grad[near.w]);
            let inside = select(vec4<f32>(0.0), x, at < vec4<u32>(used));
            sums = fma(inside, inside, sums);
        }
        first = end;
        if r + RECORD < p.records * RECORD {
            first = records[r + RECORD];
        }
    }
    let sum = workgroup_sum(lane, sums.x + sums.y + (sums.z + sums.w));
    if lane == 0u {
        partial_sums[p.at + group] = sum;
    }
}
