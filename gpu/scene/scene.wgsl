// Draws rectangles, one an instance: a colour, a picture or a glyph, with round corners.

struct Target {
	size: vec2<f32>, // in pixels
	unused: vec2<f32>,
}

@group(0) @binding(0) var<uniform> destination: Target;
@group(0) @binding(1) var glyphs: texture_2d<f32>;
@group(0) @binding(2) var smooth_sampler: sampler;
@group(1) @binding(0) var picture: texture_2d<f32>;

struct Instance {
	@location(0) at: vec4<f32>,     // left, top, width, height in pixels
	@location(1) from_texture: vec4<f32>, // left and top in texels; texels for a pixel in x and y
	@location(2) color: vec4<f32>,  // premultiplied
	@location(3) shape: vec4<f32>,  // radius, blur, kind: 0 a colour, 1 a picture, 2 a glyph
}

struct Corner {
	@builtin(position) position: vec4<f32>,
	@location(0) pixel: vec2<f32>, // from the rectangle's top left corner
	@location(1) @interpolate(flat) size: vec2<f32>,
	@location(2) @interpolate(flat) from_texture: vec4<f32>,
	@location(3) @interpolate(flat) color: vec4<f32>,
	@location(4) @interpolate(flat) shape: vec4<f32>,
}

// Two triangles: 0 1 2 and 2 1 3 of the corners (0, 0), (1, 0), (0, 1), (1, 1). What is
// blurred takes room around its rectangle.
@vertex
fn corner(@builtin(vertex_index) i: u32, in: Instance) -> Corner {
	let at = vec2<f32>(f32((0x32u >> i) & 1u), f32((0x2cu >> i) & 1u));
	var out: Corner;
	out.size = in.at.zw;
	out.pixel = at * in.at.zw + (at * 2.0 - 1.0) * in.shape.y;
	let ndc = (in.at.xy + out.pixel) / destination.size * 2.0 - 1.0;
	out.position = vec4<f32>(ndc.x, -ndc.y, 0.0, 1.0);
	out.from_texture = in.from_texture;
	out.color = in.color;
	out.shape = in.shape;
	return out;
}

// Smaller pictures are the mean of four points in a pixel.
fn shrunk(texel: vec2<f32>, step: vec2<f32>) -> vec4<f32> {
	let unit = 1.0 / vec2<f32>(textureDimensions(picture));
	if step.x <= 1.0 && step.y <= 1.0 {
		return textureSampleLevel(picture, smooth_sampler, texel * unit, 0.0);
	}
	var sum = vec4<f32>(0.0);
	for (var i = 0u; i < 4u; i += 1u) {
		let to = vec2<f32>(f32(i & 1u), f32(i >> 1u)) * 0.5 - 0.25;
		sum += textureSampleLevel(picture, smooth_sampler, (texel + to * step) * unit, 0.0);
	}
	return sum * 0.25;
}

// How much of a pixel the rectangle covers, by the pixel's distance from it.
fn covered(in: Corner) -> f32 {
	let radius = min(in.shape.x, 0.5 * min(in.size.x, in.size.y));
	let beyond = abs(in.pixel - 0.5 * in.size) - 0.5 * in.size + radius;
	let distance = length(max(beyond, vec2<f32>(0.0))) + min(max(beyond.x, beyond.y), 0.0) - radius;
	if in.shape.y > 0.0 {
		return 1.0 - smoothstep(-in.shape.y, in.shape.y, distance);
	}
	return clamp(0.5 - distance, 0.0, 1.0);
}

@fragment
fn pixel(in: Corner) -> @location(0) vec4<f32> {
	let texel = in.from_texture.xy + in.pixel * in.from_texture.zw;
	var color = in.color * covered(in);
	if in.shape.z == 1.0 {
		if in.from_texture.z == 1.0 && in.from_texture.w == 1.0 {
			color *= textureLoad(picture, vec2<i32>(texel), 0);
		} else {
			color *= shrunk(texel, in.from_texture.zw);
		}
	} else if in.shape.z == 2.0 {
		color *= textureLoad(glyphs, vec2<i32>(texel), 0).r;
	}
	return color;
}
