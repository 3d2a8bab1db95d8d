// w −= lr·(nesterov ? d + momentum·m : m), after d = grad + decay·w, m = momentum·m + gain·d
// One step of stochastic gradient descent with momentum on a slab of parameters, of gradients times factor; 0 leaves
// all as it is.
// m lies as the parameters do, gradients row-major from the same elements on; w may hold other parameters too.
// One invocation updates one element, one workgroup WG of one parameter.
//!use fold
//!use slab
struct Params { n: u32, records: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<f32>;     // [n]
@group(0) @binding(2) var<storage, read> factor: array<f32>;   // [1], of the gradients
@group(0) @binding(3) var<storage, read> records: array<u32>;  // see slab.wgsl
@group(0) @binding(4) var<storage, read> settings: array<f32>;    // lr, momentum, gain, weight_decay, nesterov
@group(0) @binding(5) var<storage, read_write> w: array<f32>;
@group(0) @binding(6) var<storage, read_write> m: array<f32>;  // [n]

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
    let j = gradient_of(i, panel_in(first, r), r);
    if i >= p.n || j == NOWHERE {
        return;
    }
    let momentum = settings[1u];
    let at = parameter_of(i, r);
    let d = fma(select(0.0, settings[3u], decays(r)), w[at], factor[0u] * grad[j]);
    let mean = fma(momentum, m[i], settings[2u] * d);
    m[i] = mean;
    w[at] -= settings[0u] * rate_of(r) * select(mean, fma(momentum, mean, d), settings[4u] != 0.0);
}
