// A weight in 8-bit integers, of which 127 means 1: a block is one vec4 of quadruples, each for one k. The row of
// blocks after a panel's last holds the scales of its n in float32.
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;

// load_w(block)[k][n] is an element of a block, before its scale.
fn load_w(block: u32) -> mat4x4<f32> {
    let a = w[block];
    return mat4x4<f32>(unpack4x8snorm(a.x), unpack4x8snorm(a.y), unpack4x8snorm(a.z), unpack4x8snorm(a.w));
}

// scale_w(block) are the scales of four n.
fn scale_w(block: u32) -> vec4<f32> { return bitcast<vec4<f32>>(w[block]); }
