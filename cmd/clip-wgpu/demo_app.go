package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/cmd/clip-wgpu/internal/gallery"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
)

// finder finds the pictures that the demo shows. Its methods are called by several goroutines.
type finder interface {
	find(ctx context.Context, s gallery.Search) gallery.Found
	thumbnail(ctx context.Context, id int64) (*image.RGBA, error)
	// addFolder adds a folder's pictures and tells how far it is, at its end with Finished.
	addFolder(ctx context.Context, folder string, tell func(gallery.Progress))
}

// screen is the demo's window.
type screen interface {
	SetClipboard(text string)
	Close()
	Wake()
}

// demo does what the gallery asks for. Its goroutines put what comes of it into inbox and
// wake the window, whose goroutine has the gallery to itself.
type demo struct {
	gallery *gallery.Gallery
	finder  finder
	screen  screen
	launch  func(program string, args ...string) error

	queries chan gallery.Search // the newest that is to be begun
	wanted  chan []int64        // the newest thumbnails that are missing
	workers sync.WaitGroup
	folders sync.Mutex // one is indexed at a time

	mu    sync.Mutex
	inbox []any
}

func newDemo(g *gallery.Gallery, f finder) *demo {
	return &demo{gallery: g, finder: f, launch: launch, queries: make(chan gallery.Search, 1), wanted: make(chan []int64, 1)}
}

// run has the goroutines work while show goes on.
func (d *demo) run(ctx context.Context, show func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer d.workers.Wait()
	defer stop()
	d.workers.Go(func() { d.search(ctx) })
	d.workers.Go(func() { d.load(ctx) })
	return show(ctx)
}

// handle takes an event of the window; woken tells that it is a Wake.
func (d *demo) handle(ctx context.Context, on screen, e any, woken bool) error {
	d.mu.Lock()
	events := []any{e}
	if woken {
		events, d.inbox = d.inbox, nil
	}
	d.screen = on
	d.mu.Unlock()
	for _, e := range events {
		if found, ok := e.(gallery.Found); ok && errors.Is(found.Err, gpu.ErrLost) {
			return found.Err
		}
		for _, effect := range d.gallery.Handle(e) {
			d.do(ctx, effect)
		}
	}
	replace(d.wanted, d.gallery.Wanted())
	return nil
}

// scene is what the window shows, and its title.
func (d *demo) scene() (*scene.Scene, string, error) {
	return d.gallery.Scene(), oneLine(d.gallery.Title()), nil
}

// replace puts a value into a channel with room for one, in the place of one that nobody
// has taken. There is one goroutine that does so.
func replace[T any](c chan T, value T) {
	select {
	case <-c:
	default:
	}
	c <- value
}

// post gives the gallery an event from any goroutine.
func (d *demo) post(e any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inbox = append(d.inbox, e)
	d.screen.Wake()
}

func (d *demo) do(ctx context.Context, effect gallery.Effect) {
	switch e := effect.(type) {
	case gallery.Search:
		replace(d.queries, e)
	case gallery.Open:
		d.start(openCommand(string(e)))
	case gallery.Reveal:
		d.start(revealCommand(string(e)))
	case gallery.Copy:
		d.screen.SetClipboard(string(e))
	case gallery.Index:
		d.workers.Go(func() {
			d.folders.Lock()
			defer d.folders.Unlock()
			d.finder.addFolder(ctx, string(e), func(p gallery.Progress) { d.post(p) })
		})
	case gallery.Quit:
		d.screen.Close()
	}
}

// search answers the newest query, then the newest by then, until ctx ends. The first one has
// no words: kernels that those need are compiled behind it, before someone types.
func (d *demo) search(ctx context.Context) {
	for compiled := false; ; compiled = true {
		select {
		case <-ctx.Done():
			return
		case s := <-d.queries:
			found := d.find(ctx, s)
			if ctx.Err() != nil {
				return
			}
			d.post(found)
			if !compiled && len(d.queries) == 0 {
				d.find(ctx, gallery.Search{Text: "a"})
			}
		}
	}
}

// find answers a query. A panic of the finder is the answer's error.
func (d *demo) find(ctx context.Context, s gallery.Search) gallery.Found {
	found, err := interruptible(ctx, func() (gallery.Found, error) { return d.finder.find(ctx, s), nil })
	if err != nil {
		found = gallery.Found{Err: err}
	}
	found.Query = s.Query
	return found
}

// load brings thumbnails until ctx ends, those that are in sight by now first.
func (d *demo) load(ctx context.Context) {
	var ids []int64
	for {
		if len(ids) == 0 {
			select {
			case <-ctx.Done():
				return
			case ids = <-d.wanted:
			}
			continue
		}
		select {
		case ids = <-d.wanted:
		default:
			img, err := d.finder.thumbnail(ctx, ids[0])
			if ctx.Err() != nil {
				return
			}
			d.post(gallery.Thumbnail{ID: ids[0], Image: img, Err: err})
			ids = ids[1:]
		}
	}
}

// start starts a program of the system.
func (d *demo) start(program string, args []string) {
	if err := d.launch(program, args...); err != nil {
		d.post(gallery.Failed{Err: fmt.Errorf("%s: %w", program, err)})
	}
}

func launch(program string, args ...string) error {
	cmd := exec.Command(program, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait() // so that nothing of it is left when it has ended
	return nil
}

// openCommand is what opens a file, whose path is absolute, with the program for its kind.
func openCommand(path string) (program string, args []string) {
	switch runtime.GOOS {
	case "darwin":
		return "open", []string{path}
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler", path}
	}
	return "xdg-open", []string{path}
}

// revealCommand is what shows a file in its folder.
func revealCommand(path string) (program string, args []string) {
	switch runtime.GOOS {
	case "darwin":
		return "open", []string{"-R", path}
	case "windows":
		return "explorer", []string{"/select," + path}
	}
	return "xdg-open", []string{filepath.Dir(path)}
}

// opaque is img in RGB, as the model gets to see it.
func opaque(img *preprocess.Image) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, img.Width(), img.Height()))
	rgb := img.RGB()
	for i := 0; 3*i < len(rgb); i++ {
		copy(out.Pix[4*i:], rgb[3*i:3*i+3])
		out.Pix[4*i+3] = 0xff
	}
	return out
}
