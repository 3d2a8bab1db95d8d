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
// recognised by content. JPEG pixels are libjpeg-turbo's. Programs built with -tags heic read
// HEIC and AVIF, too: the primary image, whose pixels are pillow-heif's and Pillow's within two
// levels where chroma is not subsampled, and otherwise near them. No limit but those of size and
// memory bounds how long such a file takes.
package preprocess
