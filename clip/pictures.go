package clip

import (
	"context"
	"errors"
	"fmt"
	"image"
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
	"github.com/clip-wgpu/clip-wgpu/ops"
)

// EncodedPicture is what became of a picture.
type EncodedPicture struct {
	Features Array // unit features [embed_dim], or [tokens, embed_dim] where the tower does not pool
	Turned   bool  // the image is stored turned and was taken so, see preprocess.WithOrientation
	// Err says why there are no features, or is a *NotFiniteError.
	Err error
}

// PictureTimes is where the time of pictures goes. Pictures are read, decoded and resized
// on all cores at once, and batches overlap, so that the times add up to more than passes.
type PictureTimes struct {
	preprocess.Reading
	Resize time.Duration
	gpu.RunTime
}

// EncodePictures reads, decodes and resizes pictures on all cores, encodes them in batches
// and yields what became of each, in order. Some batches are made ready while others are
// computed. An error that is not of one picture ends it, as does the end of ctx. pictures
// is ranged over in another goroutine. times, where given, may be read in the end.
func (m *Model) EncodePictures(ctx context.Context, pictures iter.Seq[preprocess.Picture], batch int, times *PictureTimes) iter.Seq2[EncodedPicture, error] {
	return func(yield func(EncodedPicture, error) bool) {
		if batch < 1 {
			yield(EncodedPicture{}, fmt.Errorf("%w: batches of %d pictures", ErrInput, batch))
			return
		}
		e := &pictureEncoder{Model: m, batch: batch, measures: times != nil}
		if e.measures {
			defer func() { e.add(func(t *PictureTimes) { *times = *t }) }()
		}
		e.work = e.encodeBatch
		e.run(ctx, pictures, func(p *picture, err error) bool { return yield(p.EncodedPicture, err) })
	}
}

// run yields what became of each picture, in order. With an error, which is the last, the
// picture is empty.
func (e *pictureEncoder) run(ctx context.Context, pictures iter.Seq[preprocess.Picture], yield func(*picture, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for b := range e.batches(ctx, e.decode(ctx, pictures)) {
		select {
		case <-b.done:
		case <-ctx.Done():
			yield(&picture{}, ctx.Err())
			return
		}
		if b.err != nil {
			yield(&picture{}, b.err)
			return
		}
		for _, p := range b.pictures {
			if !yield(p, nil) {
				return
			}
		}
	}
	if err := ctx.Err(); err != nil {
		yield(&picture{}, err)
	}
}

// EncodeImages preprocesses images and returns their unit features. What Go's types do not
// tell of a picture, as preprocess.FromImage lists it, only EncodeImageFiles knows. Where
// an image cannot be preprocessed, the error matches ErrInput.
func (m *Model) EncodeImages(ctx context.Context, images []image.Image) (Array, error) {
	pictures := func(yield func(preprocess.Picture) bool) {
		for _, img := range images {
			if !yield(preprocess.GoImage(img)) {
				return
			}
		}
	}
	return m.encodeAll(ctx, pictures, func(i int, err error) error {
		return fmt.Errorf("%w: image %d: %w", ErrInput, i, err)
	})
}

// EncodeImageFiles reads pictures, as open_clip's preprocessing opens them, and returns
// their unit features: those that embed writes. The error names the file that it is of.
func (m *Model) EncodeImageFiles(ctx context.Context, paths []string, opts ...preprocess.Option) (Array, error) {
	return m.encodeAll(ctx, preprocess.Files(paths, opts...), func(_ int, err error) error { return err })
}

// encodeAll returns the features of pictures, or the first error: of one picture it is
// what failed makes of it.
func (m *Model) encodeAll(ctx context.Context, pictures iter.Seq[preprocess.Picture], failed func(i int, err error) error) (Array, error) {
	all := Array{Shape: []int{0, m.Config().EmbedDim}}
	var odd *NotFiniteError
	for e, err := range m.EncodePictures(ctx, pictures, maxPictures, nil) {
		if err != nil {
			return Array{}, err
		}
		var one *NotFiniteError
		switch {
		case errors.As(e.Err, &one) && odd == nil:
			odd = &NotFiniteError{one.Of, []int{all.Shape[0]}, one.Cause}
		case errors.As(e.Err, &one):
			odd.Items = append(odd.Items, all.Shape[0])
		case e.Err != nil:
			return Array{}, failed(all.Shape[0], e.Err)
		}
		all = Array{append([]int{all.Shape[0] + 1}, e.Features.Shape...), append(all.Data, e.Features.Data...)}
	}
	if odd != nil {
		return all, odd
	}
	return all, nil
}

// maxPictures is how many pictures EncodeImages has decoded at once.
const maxPictures = 64

// picture is a picture on its way.
type picture struct {
	EncodedPicture
	pixels   []int32            // as ops.Pixels takes them
	patches  preprocess.Patched // in place of pixels
	captions []string           // of those that captions are written of
}

// pictureBatch is pictures that are encoded at once, and those between that cannot be.
type pictureBatch struct {
	pictures []*picture
	good     []*picture    // without Err
	first    int           // how many such are in the batches before
	done     chan struct{} // closed when they are encoded
	err      error
}

// pictureEncoder is one call of EncodePictures or CaptionPictures.
type pictureEncoder struct {
	*Model
	batch int
	work  func(ctx context.Context, b *pictureBatch) error // does what is asked for to b's good pictures

	measures bool       // somebody asks for times
	mu       sync.Mutex // around times
	times    PictureTimes
}

// add lets change the times, where somebody asks for them.
func (e *pictureEncoder) add(change func(t *PictureTimes)) {
	if e.measures {
		e.mu.Lock()
		defer e.mu.Unlock()
		change(&e.times)
	}
}

// decode yields pictures in order, while others, up to a batch, are being decoded on all
// cores.
func (e *pictureEncoder) decode(ctx context.Context, pictures iter.Seq[preprocess.Picture]) iter.Seq[*picture] {
	queue := make(chan chan *picture, e.batch)
	go func() {
		defer close(queue)
		decoders := make(chan *preprocess.Decoder, runtime.GOMAXPROCS(0))
		for range cap(decoders) {
			decoders <- new(preprocess.Decoder)
		}
		for p := range pictures {
			turn := make(chan *picture, 1)
			select {
			case queue <- turn:
			case <-ctx.Done():
				return
			}
			d := <-decoders
			go func() {
				turn <- e.ready(d, p)
				decoders <- d
			}()
		}
	}()
	return func(yield func(*picture) bool) {
		for {
			turn, ok := received(ctx, queue)
			if !ok {
				return
			}
			if p, ok := received(ctx, turn); !ok || !yield(p) {
				return
			}
		}
	}
}

// received is what comes from a channel; false when it is closed or ctx has ended.
func received[T any](ctx context.Context, from <-chan T) (value T, ok bool) {
	select {
	case value, ok = <-from:
	case <-ctx.Done():
	}
	return value, ok
}

// ready makes a picture ready for the tower. A panic of a decoder is the picture's error.
func (e *pictureEncoder) ready(d *preprocess.Decoder, open preprocess.Picture) (p *picture) {
	p = &picture{}
	defer guard.Catch(&p.Err)
	if open == nil {
		p.Err = fmt.Errorf("%w: a nil Picture", ErrInput)
		return p
	}
	before, start := d.Spent(), time.Now()
	img, err := open(d)
	if err != nil {
		p.Err = err
		return p
	}
	opened := time.Now()
	if p.Err = e.preprocess(p, img); p.Err != nil {
		return p
	}
	p.Turned = img.Turned()
	e.add(func(t *PictureTimes) {
		after := d.Spent()
		read := after.File - before.File
		t.File += read
		t.Decode += opened.Sub(start) - read
		t.Resize += time.Since(opened)
	})
	return p
}

// preprocess makes the tower's input of img.
func (e *pictureEncoder) preprocess(p *picture, img *preprocess.Image) (err error) {
	t := e.Preprocess()
	if _, ok := t.Sequence(); ok {
		p.patches, err = t.Patches(img)
		return err
	}
	pix, err := t.Pixels(img)
	p.pixels = words(pix)
	return err
}

// words packs bytes four in a number, the first one lowest.
func words(bytes []uint8) []int32 {
	all := make([]int32, (len(bytes)+3)/4)
	for i, b := range bytes {
		all[i/4] |= int32(b) << (i % 4 * 8)
	}
	return all
}

// batches sends batches in order. It has as many encoded at a time as the device may have.
func (e *pictureEncoder) batches(ctx context.Context, pictures iter.Seq[*picture]) <-chan *pictureBatch {
	queue, room := make(chan *pictureBatch), make(chan struct{}, e.engine.Depth())
	go func() {
		defer close(queue)
		b := &pictureBatch{done: make(chan struct{})}
		send := func() bool {
			full := b
			b = &pictureBatch{done: make(chan struct{}), first: full.first + len(full.good)}
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return false
			}
			go func() {
				defer func() { <-room; close(full.done) }()
				full.err = e.worked(ctx, full)
			}()
			select {
			case queue <- full:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for p := range pictures {
			if b.pictures = append(b.pictures, p); p.Err == nil {
				b.good = append(b.good, p)
			}
			if len(b.good) == e.batch || len(b.pictures) == 2*e.batch {
				if !send() {
					return
				}
			}
		}
		if len(b.pictures) > 0 && ctx.Err() == nil {
			send()
		}
	}()
	return queue
}

// worked does e's work.
func (e *pictureEncoder) worked(ctx context.Context, b *pictureBatch) (err error) {
	defer guard.Catch(&err) // nobody else could catch a panic of this goroutine
	if len(b.good) == 0 {
		return nil
	}
	return e.work(ctx, b)
}

// outputOf computes an output of the image tower of b's pictures. odd are those of which
// it holds NaN or infinities.
func (e *pictureEncoder) outputOf(ctx context.Context, b *pictureBatch, name string) (x Array, odd *NotFiniteError, err error) {
	for _, group := range e.lengthGroups(b.good) {
		outs, err := e.engine.Run(ctx, len(group.pictures), e.encodingOf(group, name))
		if err != nil {
			return x, nil, err
		}
		part := Array(outs[name])
		if group.length == 0 { // all pictures, in their order
			x = part
			break
		}
		item := len(part.Data) / len(group.pictures)
		if x.Data == nil {
			x = Array{append([]int{len(b.good)}, part.Shape[1:]...), make([]float32, len(b.good)*item)}
		}
		for i, at := range group.places {
			copy(x.Data[at*item:], part.Data[i*item:(i+1)*item])
		}
	}
	if err := e.finite(ctx, "image "+name, x, e.isImage); err != nil && !errors.As(err, &odd) {
		return x, nil, err
	}
	return x, odd, nil
}

// encodeBatch fills in the features of b's pictures.
func (e *pictureEncoder) encodeBatch(ctx context.Context, b *pictureBatch) error {
	features, odd, err := e.outputOf(ctx, b, towers.Features)
	if err != nil {
		return err
	}
	item := len(features.Data) / len(b.good)
	for i, p := range b.good {
		p.Features = Array{features.Shape[1:], features.Data[i*item : (i+1)*item]}
		p.pixels, p.patches.RGB = nil, nil
	}
	if odd != nil {
		for _, i := range odd.Items {
			b.good[i].Err = &NotFiniteError{odd.Of, []int{0}, odd.Cause}
		}
	}
	return nil
}

func (e *pictureEncoder) took() func(gpu.RunTime) {
	if !e.measures {
		return nil
	}
	return func(run gpu.RunTime) {
		e.add(func(t *PictureTimes) {
			t.Upload += run.Upload
			t.Compute += run.Compute
			t.Readback += run.Readback
		})
	}
}

// Inputs of the image tower where it is given pictures as bytes.
const bytesInput, levelsInput = "pixels", "levels"

// recordPixels records the image tower for images in bytes, a quarter of their size in
// f32.
func (m *Model) recordPixels(g *graph.Graph, batch, length int) towers.Outputs {
	size := m.Config().VisionCfg.ImageSize
	bytes := g.Input(bytesInput, graph.Shape{batch, graph.Ceil(3*size[0]*size[1], 4)}, graph.I32)
	levels := g.Input(levelsInput, graph.Shape{3, 256}, graph.F32)
	g.Supply(towers.Image, ops.Pixels(g, bytes, levels, size[0], size[1]))
	return m.towers.RecordImages(g, batch, length)
}

// feed gives the inputs of recordPixels.
func (e *pictureEncoder) feed(pictures []*picture) func(lo, hi int) map[string]any {
	return func(lo, hi int) map[string]any {
		bytes := make([]int32, 0, (hi-lo)*len(pictures[lo].pixels))
		for _, p := range pictures[lo:hi] {
			bytes = append(bytes, p.pixels...)
		}
		return map[string]any{bytesInput: bytes, levelsInput: e.Preprocess().Levels()}
	}
}
