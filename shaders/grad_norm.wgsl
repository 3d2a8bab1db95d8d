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
const SPAN = 4096u;

//!tile SPAN
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let group = group_index(wg);
    if group * SPAN >= p.n {
        return;
    }
    let end = min((group + 1u) * SPAN, p.n);
    var sum = 0.0;
    var first = group * SPAN;
    while first < end {
        let r = record_of(first);
        let used = min(records[r] + records[r + 2u], end);  // where the parameter's gradient ends
        for (var i = first + lane; i < used; i += WG) {
            sum = fma(grad[i], grad[i], sum);
        }
        first = end;
        if r + RECORD < p.records * RECORD {
            first = records[r + RECORD];
        }
    }
    sum = workgroup_sum(lane, sum);
    if lane == 0u {
        partial_sums[p.at + group] = sum;
    }
}
