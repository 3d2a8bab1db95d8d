// Package preprocess turns an image file into the tensor that open_clip's
// image_transform(is_train=False) gives for it, equal to Pillow in bytes.
//
//	t, err := preprocess.New(preprocess.DefaultConfig())
//	img, err := preprocess.DecodeFile("cat.jpg")
//	x, err := t.Apply(img) // []float32, [3, H, W]
//
// An [Image] keeps the mode that Pillow would open the file in, because
// open_clip resizes in that mode and converts to RGB last: palette and bilevel
// images are resized by nearest neighbour, colours are multiplied by alpha
// while they are resized, and 16-bit gray saturates at 255. Pixels, and which files
// are refused, are as with Pillow 13.0. Two things are as with 9.4, where open_clip
// was recorded: 16-bit gray is mode I, not I;16, and a fill_color that a palette
// lacks is gray, not black.
//
// PNG, JPEG, GIF (first frame), WebP (first frame), BMP and TIFF are read, and
// recognised by content. JPEG pixels are libjpeg-turbo's. Programs built with -tags
// heic,nodynamic read HEIC and AVIF, too: the primary image, or the first of an animation. A
// HEIC's pixels are pillow-heif's within one level, but for two of its own errors: it expands
// a grid of ten bits and limited range twice, and scales chroma of a turned grid with odd
// sides. An AVIF's are Pillow's where chroma is not subsampled. Where it is, Pillow scales it
// bilinearly and this package takes the nearest sample: of photographs, samples differ by 0.1
// to 1.4 levels in the mean and 2 to 13 at the 99th percentile, at sharp edges by up to 110. No
// limit but those of size and memory bounds how long such a file takes.
package preprocess
