// w = w·(1 − lr·decay) − lr / bias1 · m / (√(v / bias2) + eps), after m += rate1·(grad − m), v += rate2·(grad² − v)
// One step of AdamW on a slab of parameters, of gradients times factor; 0 leaves all as it is.
// rate1 = 1 − β1, rate2 = 1 − β2, bias1 = 1 − β1ᵗ, bias2 = 1 − β2ᵗ.
// m and v lie as their parameters do, gradients row-major from the same elements on; w may hold other parameters too.
// One invocation updates ELEMENTS elements, WG apart, one workgroup ELEMENTS · WG of one parameter. It reads what is the
// same for all of them before it stores any: a store keeps compilers from knowing it later.
//!use fold
//!use slab
struct Params { n: u32, records: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<f32>;     // [n]
@group(0) @binding(2) var<storage, read> factor: array<f32>;   // [1], of the gradients
@group(0) @binding(3) var<storage, read> records: array<u32>;  // see slab.wgsl
@group(0) @binding(4) var<storage, read> settings: array<f32>;    // lr, rate1, rate2, eps, weight_decay, bias1, bias2
@group(0) @binding(5) var<storage, read_write> w: array<f32>;
@group(0) @binding(6) var<storage, read_write> m: array<f32>;  // [n]
@group(0) @binding(7) var<storage, read_write> v: array<f32>;  // [n]

const WG = 64u;
const ELEMENTS = 4u;

//!tile ELEMENTS*WG
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group_index(wg) * ELEMENTS * WG;
    if first >= p.n || factor[0u] == 0.0 {
        return;
    }
    let r = record_of(first);
    let near = panel_in(first, r);
    let scale = factor[0u];
    let lr = settings[0u] * rate_of(r);
    let rate1 = settings[1u];
    let rate2 = settings[2u];
    let eps = settings[3u];
    let kept = 1.0 - lr * select(0.0, settings[4u], decays(r));
    let stride = lr / settings[5u];
    let deviation = sqrt(settings[6u]);
    var from_grad: array<u32, ELEMENTS>;
    var at_w: array<u32, ELEMENTS>;
    for (var e = 0u; e < ELEMENTS; e++) {  //!unroll
        from_grad[e] = gradient_of(first + lane + e * WG, near, r);
        at_w[e] = parameter_of(first + lane + e * WG, r);
    }
    for (var e = 0u; e < ELEMENTS; e++) {  //!unroll
        let i = first + lane + e * WG;
        if i < p.n && from_grad[e] != NOWHERE {
            let g = scale * grad[from_grad[e]];
            let first_moment = fma(rate1, g - m[i], m[i]);
            let second_moment = fma(rate2, g * g - v[i], v[i]);
            m[i] = first_moment;
            v[i] = second_moment;
            let width = sqrt(second_moment) / deviation + eps;
            w[at_w[e]] = w[at_w[e]] * kept - stride * first_moment / width;
        }
    }
}
