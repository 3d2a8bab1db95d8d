// apply(f, x) is the element-wise function number f: 0 GELU, 1 GELU by tanh, 2 quick GELU, 3 ReLU, 4 SiLU,
// 5 sigmoid, 6 log sigmoid, 7 exp, 8 tanh, NONE x itself. slope(f, x) is its derivative at x.
//!use math
const NONE = 9u;  // how many functions there are

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

fn slope(f: u32, x: f32) -> f32 {
    switch f {
        case 0u: { return gelu_erf_grad(x); }
        case 1u: { return gelu_tanh_grad(x); }
        case 2u: { return quick_gelu_grad(x); }
        case 3u: { return select(0.0, 1.0, x > 0.0); }
        case 4u: { return silu_grad(x); }
        case 5u: { return sigmoid(x) * sigmoid(-x); }
        case 6u: { return sigmoid(-x); }
        case 7u: { return exp(x); }
        case 8u: { return 4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x); }  // 1 − tanh², without its cancellation
        default: { return 1.0; }
    }
}
