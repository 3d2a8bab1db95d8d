package preprocess

import (
	"encoding/json"
	"image"
	"io"
	"iter"
	"time"
)

// Picture gives an image, which it decodes into d's memory or makes otherwise.
type Picture func(d *Decoder) (*Image, error)

// File is the picture in a regular file, as DecodeFile reads it.
func File(path string, opts ...Option) Picture {
	return func(d *Decoder) (*Image, error) { return d.DecodeFile(path, opts...) }
}

// Files are the pictures in files, see File.
func Files(paths []string, opts ...Option) iter.Seq[Picture] {
	return func(yield func(Picture) bool) {
		for _, path := range paths {
			if !yield(File(path, opts...)) {
				return
			}
		}
	}
}

// Reader is the picture that r has, as Decode reads it. It can be read once.
func Reader(r io.Reader, opts ...Option) Picture {
	return func(d *Decoder) (*Image, error) { return d.Decode(r, opts...) }
}

// GoImage is the picture of a Go image, as FromImage takes it.
func GoImage(img image.Image) Picture {
	return func(*Decoder) (*Image, error) { return FromImage(img), nil }
}

// Reading is how long a Decoder has spent since it was made.
type Reading struct{ File, Decode time.Duration }

// Spent tells how long d has read files and decoded them.
func (d *Decoder) Spent() Reading { return d.spent }

// Draft decodes JPEGs at 1/2, 1/4 or 1/8 of their width and height where both are still
// at least what t resizes them to: the scale that Pillow's Image.draft takes, see
// WithScale, in whose place it comes. It is quicker and gives other vectors.
func (t *Transform) Draft() Option {
	resized := t.resizedSize
	if t.sequence != nil {
		resized = t.sequence.Size
	}
	return func(o *options) {
		o.draft = func(width, height int) int {
			h, w, err := resized(height, width)
			if err != nil {
				return 1 // Pixels says why
			}
			for _, scale := range []int{8, 4, 2} {
				if width/w >= scale && height/h >= scale {
					return scale
				}
			}
			return 1
		}
	}
}

// Identity is, in JSON, what t's results depend on where images are read with opts: t's
// Config and Sequence, and whether they are turned upright, drafted or scaled. Vectors of
// pictures with other identities cannot be compared.
func (t *Transform) Identity(opts ...Option) string {
	o := options{scale: 1}
	for _, opt := range opts {
		opt(&o)
	}
	data, _ := json.Marshal(struct { // of plain values, which cannot fail
		Config
		Orient bool `json:"orient"`
		Draft  bool `json:"draft"`
		Scale  int  `json:"scale"` // 1/Scale, see WithScale

		Sequence *Sequence `json:"sequence,omitempty"`
	}{t.cfg, o.orient, o.draft != nil, o.scale, t.sequence})
	return string(data)
}
