// random_word(seed, stream, i) = 32 random bits that depend on seed, stream and i alone
// It is the first word of Threefry-2x32 with 20 rounds; the key is seed, the counter (stream, i) (Salmon et al.,
// Parallel Random Numbers: As Easy as 1, 2, 3, 2011). It computes in integers, so every device gives the same bits.
fn threefry_mix(x: vec2<u32>, distance: u32) -> vec2<u32> {
    let sum = x.x + x.y;
    return vec2<u32>(sum, ((x.y << distance) | (x.y >> (32u - distance))) ^ sum);
}

fn threefry_rounds(x: vec2<u32>, distances: vec4<u32>) -> vec2<u32> {
    return threefry_mix(threefry_mix(threefry_mix(threefry_mix(x, distances.x), distances.y), distances.z), distances.w);
}

fn random_word(seed: vec2<u32>, stream: u32, i: u32) -> u32 {
    let parity = 0x1bd11bdau ^ seed.x ^ seed.y;
    let even = vec4<u32>(13u, 15u, 26u, 6u);
    let odd = vec4<u32>(17u, 29u, 16u, 24u);
    var x = vec2<u32>(stream, i) + seed;
    x = threefry_rounds(x, even) + vec2<u32>(seed.y, parity + 1u);
    x = threefry_rounds(x, odd) + vec2<u32>(parity, seed.x + 2u);
    x = threefry_rounds(x, even) + vec2<u32>(seed.x, seed.y + 3u);
    x = threefry_rounds(x, odd) + vec2<u32>(seed.y, parity + 4u);
    x = threefry_rounds(x, even) + vec2<u32>(parity, seed.x + 5u);
    return x.x;
}
