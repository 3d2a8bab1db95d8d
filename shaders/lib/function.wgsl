// apply(f, x) is the element-wise function number f: 0 GELU, 1 GELU by tanh, 2 quick GELU, 3 ReLU, 4 SiLU,
// 5 sigmoid, 6 log sigmoid, 7 exp, 8 tanh, 9 none.
//!use math
fn apply(f: u32, x: f32) -> f32 {
    switch f {
        case 0u: { return gelu_erf(x); }
        case 1u: { return gelu_tanh(x); }
        case 2u: { return quick_gelu(x); }
        case 3u: { return relu(x); }
        case 4u: { return silu(x); }
        case 5u: { return sigmoid(x); }
        case 6u: { return log_sigmoid(x); }
        case 7u: { return exp(x); }
        case 8u: { return tanh_safe(x); }
        default: { return x; }
    }
}
