// slope(f, x) is the derivative at x of the element-wise function number f, as in function.wgsl.
//!use math
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
