// A weight in bfloat16, the upper half of a float32: a block is two vec4 of pairs, each for two k.
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;

// load_w(block)[k][n] is an element of a block, before its scale.
fn load_w(block: u32) -> mat4x4<f32> {
    let a = w[2u * block];
    let b = w[2u * block + 1u];
    return mat4x4<f32>(widen(a.xy), widen(a.zw), widen(b.xy), widen(b.zw));
}

fn widen(pairs: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(pairs.x << 16u, pairs.x & 0xffff0000u, pairs.y << 16u, pairs.y & 0xffff0000u));
}

// scale_w(block) are the scales of four n.
fn scale_w(block: u32) -> vec4<f32> { return vec4<f32>(1.0); }
