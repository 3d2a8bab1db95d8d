package data

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// Batch is what a model learns from at once.
type Batch struct {
	Images   []float32            // [n, 3, height, width]
	Patches  []preprocess.Patched // in place of Images where the Transform makes patches
	Captions []string             // one of each sample's
	Samples  []int                // their indices in the Dataset
	After    Position             // what comes next
	Bad      []Bad                // met on the way, in whose place others came
}

// Position is a place in the order of samples, which is another in each epoch, unless
// LoaderOptions.InOrder says that it is the Dataset's.
type Position struct {
	Epoch int `json:"epoch"`
	Next  int `json:"next"` // samples of the epoch's order that lie behind

	Bad []int `json:"bad,omitempty"` // samples met by then that cannot be read: they count for LoaderOptions.MaxBad
}

// LoaderOptions say how batches are made.
type LoaderOptions struct {
	Batch     int                        // samples of each
	Transform *preprocess.TrainTransform // of the pictures
	Decode    []preprocess.Option        // how they are read
	InOrder   bool                       // samples come in the order of the Dataset, in every epoch
	Seed      uint64                     // decides about any other order, the captions and the augmentation
	Workers   int                        // pictures that are decoded at once; 0 is one for each core
	MaxBad    int                        // samples that cannot be used before it is an error; negative is any number
}

// Loader makes batches of a Dataset. Samples are decoded on all cores while earlier
// batches are used. What cannot be read is left out, and the next in order takes its place;
// the rest of an epoch that fills no batch is left out, too, as by open_clip_train.
type Loader struct {
	data *Dataset
	o    LoaderOptions
	item int // numbers of an image; 0 where pictures are patches
}

// NewLoader checks the options. The error matches ErrData.
func NewLoader(d *Dataset, o LoaderOptions) (*Loader, error) {
	switch {
	case o.Batch < 1:
		return nil, fmt.Errorf("%w: batches of %d samples", ErrData, o.Batch)
	case o.Batch > d.Len():
		return nil, fmt.Errorf("%w: batches of %d samples, and there are %d", ErrData, o.Batch, d.Len())
	case o.MaxBad >= 0 && len(d.Bad) > o.MaxBad:
		return nil, fmt.Errorf("%w: %d samples cannot be used, at most %d may be so; the first: %w", ErrData, len(d.Bad), o.MaxBad, d.Bad[0])
	case o.Workers < 0:
		return nil, fmt.Errorf("%w: %d workers", ErrData, o.Workers)
	case o.Workers == 0:
		o.Workers = runtime.GOMAXPROCS(0)
	}
	l := &Loader{data: d, o: o}
	if size := o.Transform.Config().Size; !o.Transform.HasPatches() {
		l.item = 3 * size[0] * size[1]
	}
	return l, nil
}

// Steps is the number of batches that an epoch has where all samples can be read.
func (l *Loader) Steps() int { return l.data.Len() / l.o.Batch }

// ahead is how many batches are made ready before they are asked for.
const ahead = 2

// loaded is what became of a sample.
type loaded struct {
	index   int
	images  []float32 // of the batch that it is in if all can be read, its own the one at place
	place   int
	patches preprocess.Patched // in place of images
	caption string
	err     error
}

// image is the memory of the image at a place of a batch's.
func (l *Loader) image(images []float32, place int) []float32 {
	return images[place*l.item : (place+1)*l.item]
}

// Batches yields batches from a Position on, epoch after epoch, until the caller stops, ctx
// ends or there is an error. All of them depend on Seed and the samples alone: the order is
// the same from whatever Position one begins.
func (l *Loader) Batches(ctx context.Context, from Position) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		bad, err := l.badOf(from)
		if err != nil {
			yield(Batch{}, err)
			return
		}
		for at := from; ; at = (Position{Epoch: at.Epoch + 1}) {
			if at.Epoch < 0 || at.Next < 0 || at.Next > l.data.Len() {
				yield(Batch{}, fmt.Errorf("%w: no position %+v among %d samples", ErrData, at, l.data.Len()))
				return
			}
			stopped := false
			made, err := l.epoch(ctx, at, bad, func(b Batch) bool {
				stopped = !yield(b, nil)
				return !stopped
			})
			if err == nil && made == 0 && at.Next == 0 {
				err = fmt.Errorf("%w: of %d samples %d cannot be read, and the others are less than a batch of %d", ErrData, l.data.Len(), len(bad.known), l.o.Batch)
			}
			if err != nil && !stopped {
				yield(Batch{}, err)
			}
			if err != nil || stopped {
				return
			}
		}
	}
}

// badSamples are those that could not be read.
type badSamples struct {
	known   map[int]bool // by their indices
	indices []int        // in the order in which they were met
	news    []Bad        // that no batch has told of
}

// badOf are those that are known at a position.
func (l *Loader) badOf(at Position) (*badSamples, error) {
	bad := &badSamples{known: map[int]bool{}}
	for _, index := range at.Bad {
		if index < 0 || index >= l.data.Len() || bad.known[index] {
			return nil, fmt.Errorf("%w: no position whose bad samples are %d, among %d samples", ErrData, at.Bad, l.data.Len())
		}
		bad.known[index] = true
		bad.indices = append(bad.indices, index)
	}
	if n := l.count(bad); len(at.Bad) > 0 && l.o.MaxBad >= 0 && n > l.o.MaxBad {
		return nil, fmt.Errorf("%w: %d samples cannot be used, at most %d may be so; the last: %s", ErrData, n, l.o.MaxBad, l.data.Name(at.Bad[len(at.Bad)-1]))
	}
	return bad, nil
}

// count is how many there are with what of the files is no sample.
func (l *Loader) count(bad *badSamples) int { return len(l.data.Bad) + len(bad.indices) }

// epoch passes on the batches of the rest of an epoch, until use wants no more, and counts
// them.
func (l *Loader) epoch(ctx context.Context, at Position, bad *badSamples, use func(Batch) bool) (made int, err error) {
	ctx, stop := context.WithCancel(ctx)
	results := l.load(ctx, at.Epoch, l.order(at.Epoch)[at.Next:])
	defer func() {
		stop()
		for range results { // until the workers have left
		}
	}()
	var b Batch
	for result := range results {
		s := <-result
		if ctx.Err() != nil {
			break
		}
		at.Next++
		if s.err != nil {
			if err := l.note(bad, s); err != nil {
				return made, err
			}
			continue
		}
		if len(b.Samples) == 0 {
			b.Images = s.images
		}
		// An image behind one that could not be read moves to a lower place, which no worker uses any more.
		copy(l.image(b.Images, len(b.Samples)), l.image(s.images, s.place))
		if l.o.Transform.HasPatches() {
			b.Patches = append(b.Patches, s.patches)
		}
		b.Samples, b.Captions = append(b.Samples, s.index), append(b.Captions, s.caption)
		if len(b.Samples) == l.o.Batch {
			at.Bad = slices.Clip(bad.indices)
			b.After, b.Bad, bad.news = at, bad.news, nil
			made++
			if !use(b) {
				return made, nil
			}
			b = Batch{}
		}
	}
	return made, ctx.Err()
}

// order lists the samples of an epoch.
func (l *Loader) order(epoch int) []int {
	if !l.o.InOrder {
		return rand.New(rand.NewPCG(l.o.Seed, uint64(epoch))).Perm(l.data.Len())
	}
	order := make([]int, l.data.Len())
	for i := range order {
		order[i] = i
	}
	return order
}

// note adds a sample that cannot be read, once. The error says that there are too many.
func (l *Loader) note(bad *badSamples, s loaded) error {
	if bad.known[s.index] {
		return nil
	}
	bad.known[s.index] = true
	bad.indices = append(bad.indices, s.index)
	news := Bad{l.data.Name(s.index), s.err}
	bad.news = append(bad.news, news)
	if n := l.count(bad); l.o.MaxBad >= 0 && n > l.o.MaxBad {
		return fmt.Errorf("%w: %d samples cannot be used, at most %d may be so; the last: %w", ErrData, n, l.o.MaxBad, news)
	}
	return nil
}

// load decodes samples on several goroutines and passes them on in order. The channel is
// closed when all have left.
func (l *Loader) load(ctx context.Context, epoch int, order []int) <-chan chan loaded {
	type task struct {
		loaded
		result chan loaded
	}
	tasks := make(chan task)
	results := make(chan chan loaded, ahead*l.o.Batch)
	var workers sync.WaitGroup
	for range l.o.Workers {
		workers.Go(func() {
			var decoder preprocess.Decoder
			for t := range tasks {
				t.result <- l.sample(&decoder, epoch, t.loaded)
			}
		})
	}
	go func() {
		defer close(results)
		defer workers.Wait()
		defer close(tasks)
		var images []float32
		for i, index := range order {
			place := i % l.o.Batch
			if place == 0 {
				images = make([]float32, l.o.Batch*l.item)
			}
			t := task{loaded{index: index, images: images, place: place}, make(chan loaded, 1)}
			select {
			case results <- t.result:
			case <-ctx.Done():
				return
			}
			tasks <- t // a worker takes it: none waits for anybody
		}
	}()
	return results
}

// sample reads one. What is random of it depends on the seed, the epoch and its index.
func (l *Loader) sample(decoder *preprocess.Decoder, epoch int, s loaded) loaded {
	rng := rand.New(rand.NewPCG(l.o.Seed, uint64(epoch)<<40|uint64(s.index)+1))
	captions, err := l.data.Captions(s.index)
	if err != nil {
		s.err = err
		return s
	}
	s.caption = captions[rng.IntN(len(captions))]
	img, err := l.data.Picture(s.index, l.o.Decode...)(decoder)
	if err != nil {
		s.err = err
		return s
	}
	if l.o.Transform.HasPatches() {
		s.patches, s.err = l.o.Transform.Patches(img, rng)
		return s
	}
	s.err = l.o.Transform.ApplyInto(l.image(s.images, s.place), img, rng)
	return s
}
