// Activation functions and their derivatives, right for all |x| <= 1e38. The activations hand a NaN on as far as the
// device keeps NaNs; normal_cdf and tanh_safe may not.
// Coefficients are least-maximum fits; errors are those of float32 arithmetic with a correctly rounded exp
// (WGSL allows exp(x) an error of 3 + 2|x| ulp).

// normal_tail(a) = 1/2 erfc(a / sqrt 2) for a >= 0, the normal distribution's upper tail, as exp(-a^2/2) t P(t) with
// t = 1 / (1 + 0.35 a). P fits to 3.2e-8; relative error <= 6e-7 for a <= 4, absolute <= 1.5e-7 everywhere.
// At 15 the true value is below float32.
fn normal_tail(a: f32) -> f32 {
    let c = min(a, 15.0);
    let t = 1.0 / fma(0.35, c, 1.0);
    let p3 = fma(fma(fma(-0.029163789, t, 0.14406015), t, -0.25590056), t, 0.15939151);
    let p2 = fma(fma(fma(p3, t, -0.023262914), t, 0.10557444), t, 0.11981559);
    let p = fma(fma(p2, t, 0.13986433), t, 0.13962126);
    return exp(-0.5 * c * c) * (t * p);
}

// normal_cdf(x) = 1/2 (1 + erf(x / sqrt 2)), without the cancellation of that form at negative x.
fn normal_cdf(x: f32) -> f32 {
    let q = normal_tail(abs(x));
    return select(q, 1.0 - q, x >= 0.0);
}

// erf(x): below 1 an odd polynomial, fitted to 1.3e-9, above it the normal tail; relative error <= 2.4e-7.
fn erf(x: f32) -> f32 {
    let a = abs(x);
    let z = x * x;
    let p3 = fma(fma(fma(7.8538615e-5, z, -0.00080101937), z, 0.0051883277), z, -0.026853813);
    let p = fma(fma(fma(p3, z, 0.112835854), z, -0.37612626), z, 1.1283791);
    return select(sign(x) * fma(-2.0, normal_tail(1.4142135 * a), 1.0), x * p, a < 1.0);
}

// sigmoid(x) = 1 / (1 + exp(-x)), by an exponential that cannot overflow.
fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

// log_sigmoid(x) = min(x, 0) - log(1 + e) with e = exp(-|x|). The logarithm is 2 atanh(e / (2 + e)) as a series fitted
// to 4e-9, because WGSL's log is only good to 5e-7 near 1, which is where confident pairs are.
fn log_sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    let s = e / (2.0 + e);
    let z = s * s;
    let l = fma(fma(fma(fma(0.28178334, z, 0.279606), z, 0.4002491), z, 0.66666317), z, 2.0);
    return select(0.0, x, x < 0.0) - s * l;
}

// tanh_safe(x) = tanh(x): some GPUs compute exp(2x) and give NaN for large x; tanh(15) is 1 in float32.
fn tanh_safe(x: f32) -> f32 { return tanh(clamp(x, -15.0, 15.0)); }

fn relu(x: f32) -> f32 { return select(x, 0.0, x < 0.0); }

// swish(x, b) = x sigmoid(b x), and its derivative s + b x s (1 - s) with s = sigmoid(b x), 1 - s = sigmoid(-b x).
fn swish(x: f32, b: f32) -> f32 { return x * sigmoid(b * x); }
fn swish_grad(x: f32, b: f32) -> f32 {
    let s = sigmoid(b * x);
    return fma(b * x, s * sigmoid(-b * x), s);
}

fn silu(x: f32) -> f32 { return swish(x, 1.0); }
fn silu_grad(x: f32) -> f32 { return swish_grad(x, 1.0); }

// quick_gelu(x) = x sigmoid(1.702 x), OpenAI's approximation (open_clip transformer.py, QuickGELU).
fn quick_gelu(x: f32) -> f32 { return swish(x, 1.702); }
fn quick_gelu_grad(x: f32) -> f32 { return swish_grad(x, 1.702); }

// gelu_erf(x) = x normal_cdf(x) and its derivative normal_cdf(x) + x exp(-x^2/2) / sqrt(2 pi).
fn gelu_erf(x: f32) -> f32 { return x * normal_cdf(x); }
fn gelu_erf_grad(x: f32) -> f32 {
    let c = clamp(x, -15.0, 15.0);
    return fma(x, 0.3989423 * exp(-0.5 * c * c), normal_cdf(x));
}

// gelu_tanh(x) = 1/2 x (1 + tanh u) = x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x^3); the clamp keeps x^3 finite.
fn gelu_tanh_arg(x: f32) -> f32 {
    let c = clamp(x, -15.0, 15.0);
    return 1.5957692 * c * fma(0.044715, c * c, 1.0);
}
fn gelu_tanh(x: f32) -> f32 { return x * sigmoid(gelu_tanh_arg(x)); }
fn gelu_tanh_grad(x: f32) -> f32 {
    let v = gelu_tanh_arg(x);
    let c = clamp(x, -15.0, 15.0);
    let slope = 1.5957692 * fma(0.134145, c * c, 1.0);
    let s = sigmoid(v);
    return fma(x * slope, s * sigmoid(-v), s);
}
