// A weight in IEEE 754 binary16: a block is two vec4 of pairs, each for two k.
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;

// load_w(block)[k][n] is an element of a block, before its scale.
fn load_w(block: u32) -> mat4x4<f32> {
    let a = w[2u * block];
    let b = w[2u * block + 1u];
    return mat4x4<f32>(
        vec4<f32>(unpack2x16float(a.x), unpack2x16float(a.y)),
        vec4<f32>(unpack2x16float(a.z), unpack2x16float(a.w)),
        vec4<f32>(unpack2x16float(b.x), unpack2x16float(b.y)),
        vec4<f32>(unpack2x16float(b.z), unpack2x16float(b.w)));
}

// scale_w(block) are the scales of four n.
fn scale_w(block: u32) -> vec4<f32> { return vec4<f32>(1.0); }
