// How linear goes through x and its weight by whole blocks.
//!use linear
//!use x

// add_product(sum, v, w) = sum + v · w, of which software drivers store only the end.
fn add_product(sum: vec4<f32>, v: vec4<f32>, w: mat4x4<f32>) -> vec4<f32> {
    let x = fma(vec4<f32>(v.x), w[0], sum);
    let y = fma(vec4<f32>(v.y), w[1], x);
    let z = fma(vec4<f32>(v.z), w[2], y);
    return fma(vec4<f32>(v.w), w[3], z);
}
