// A weight in float32: a block is four vec4, one for each k.
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;

// load_w(block)[k][n] is an element of a block, before its scale.
fn load_w(block: u32) -> mat4x4<f32> {
    let at = 4u * block;
    return mat4x4<f32>(w[at], w[at + 1u], w[at + 2u], w[at + 3u]);
}

// scale_w(block) are the scales of four n.
fn scale_w(block: u32) -> vec4<f32> { return vec4<f32>(1.0); }
