// w = w·(1 − lr·decay) − lr / bias1 · m / (√(v / bias2) + eps), after m += rate1·(grad − m), v += rate2·(grad² − v)
// One step of AdamW on a slab of parameters, of gradients times factor; 0 leaves all as it is.
// rate1 = 1 − β1, rate2 = 1 − β2, bias1 = 1 − β1ᵗ, bias2 = 1 − β2ᵗ.
// m and v lie as their parameters do, gradients row-major from the same elements on; w may hold other parameters too.
// One invocation updates one element, one workgroup WG of one parameter.
//!use fold
//!use slab
struct Params { n: u32, records: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<f32>;     // [n]
@group(0) @binding(2) var<storage, read> factor: array<f32>;   // [1], of the gradients
@group(0) @binding(3) var<storage, read> records: array<u32>;  // [records, 9]
@group(0) @binding(4) var<storage, read> settings: array<f32>;    // lr, rate1, rate2, eps, weight_decay, bias1, bias2
@group(0) @binding(5) var<storage, read_write> w: array<f32>;
@group(0) @binding(6) var<storage, read_write> m: array<f32>;  // [n]
@group(0) @binding(7) var<storage, read_write> v: array<f32>;  // [n]

const WG = 256u;

//!tile WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group_index(wg) * WG;
    let i = first + lane;
    let r = record_of(first);
    let j = gradient_of(i, r);
    if i >= p.n || j == NOWHERE || factor[0u] == 0.0 {
        return;
    }
    let lr = settings[0u] * rate_of(r);
    let eps = settings[3u];
    let decay = select(0.0, settings[4u], decays(r));
    let g = factor[0u] * grad[j];
    let first_moment = fma(settings[1u], g - m[i], m[i]);
    let second_moment = fma(settings[2u], g * g - v[i], v[i]);
    m[i] = first_moment;
    v[i] = second_moment;
    let width = sqrt(second_moment) / sqrt(settings[6u]) + eps;
    let at = parameter_of(i, r);
    w[at] = w[at] * (1.0 - lr * decay) - lr / settings[5u] * first_moment / width;
}
