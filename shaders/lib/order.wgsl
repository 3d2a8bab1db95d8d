// order_of(x) grows with x, and is the same for 0 and -0. It is NAN for all NaN, below that of any number.
const NAN = 1u;

fn order_of(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return NAN;
    }
    return select(0x80000000u + magnitude, 0x80000000u - magnitude, bits != magnitude);
}

// number_of(order) is the number of an order, NaN for NAN.
fn number_of(order: u32) -> f32 {
    var bits = select(0x80000000u | (0x80000000u - order), order - 0x80000000u, order >= 0x80000000u);
    if order == NAN {
        bits = 0x7fc00000u;
    }
    return bitcast<f32>(bits);
}
