package main

import (
	"context"
	"errors"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/cmd/clip-wgpu/internal/gallery"
	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/gpu/scene"
	"github.com/clip-wgpu/clip-wgpu/gpu/window"
	"github.com/clip-wgpu/clip-wgpu/search"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// fakeScreen is a window without a display.
type fakeScreen struct {
	woken     chan struct{}
	clipboard string
	closed    bool
}

func newFakeScreen() *fakeScreen               { return &fakeScreen{woken: make(chan struct{}, 1)} }
func (s *fakeScreen) SetClipboard(text string) { s.clipboard = text }
func (s *fakeScreen) Close()                   { s.closed = true }

func (s *fakeScreen) Wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// user sends a demo events, and waits until the scene is as it should be.
type user struct {
	t      *testing.T
	ctx    context.Context
	demo   *demo
	screen *fakeScreen
}

func (u user) does(events ...any) {
	u.t.Helper()
	for _, e := range events {
		require.NoError(u.t, u.demo.handle(u.ctx, u.screen, e, false))
	}
}

// sees waits until enough, which looks at the gallery.
func (u user) sees(what string, enough func() bool) {
	u.t.Helper()
	late := time.After(time.Minute)
	for !enough() {
		select {
		case <-late:
			require.Fail(u.t, "never seen: "+what)
		case <-time.After(10 * time.Millisecond): // not everything wakes the window
		case <-u.screen.woken:
			require.NoError(u.t, u.demo.handle(u.ctx, u.screen, window.Wake{}, true))
		}
	}
}

// fakeFinder answers when it is told to.
type fakeFinder struct {
	asked   chan string
	answers chan gallery.Found
}

func (f *fakeFinder) find(ctx context.Context, s gallery.Search) gallery.Found {
	f.asked <- s.Text
	select {
	case <-ctx.Done():
		return gallery.Found{Err: ctx.Err()}
	case a := <-f.answers:
		return a
	}
}

func (f *fakeFinder) thumbnail(_ context.Context, id int64) (*image.RGBA, error) {
	if id == 13 {
		return nil, errors.New("no picture")
	}
	return image.NewRGBA(image.Rect(0, 0, 4, 4)), nil
}

func (f *fakeFinder) addFolder(_ context.Context, folder string, tell func(gallery.Progress)) {
	tell(gallery.Progress{Folder: folder, Finished: true, Pictures: 77})
}

// withUser runs a demo on a fake finder, for as long as use.
func withUser(t *testing.T, use func(u user, f *fakeFinder)) {
	f := &fakeFinder{make(chan string, 100), make(chan gallery.Found)}
	d := newDemo(gallery.New(gallery.About{}), f)
	err := d.run(t.Context(), func(ctx context.Context) error {
		u := user{t, ctx, d, newFakeScreen()}
		u.does(window.Resize{Size: image.Pt(800, 600), Scale: 1})
		use(u, f)
		return nil
	})
	require.NoError(t, err)
}

// What is typed while a search is under way is searched for when that one ends, the last of
// it alone.
func TestDemoSkipsStaleQueries(t *testing.T) {
	withUser(t, func(u user, f *fakeFinder) {
		assert.Empty(t, <-f.asked)
		u.does(window.Text("c"), window.Text("a"), window.Text("t"))
		f.answers <- gallery.Found{}
		assert.Equal(t, "cat", <-f.asked)
		f.answers <- gallery.Found{Hits: []gallery.Hit{{ID: 12, Path: "/a"}, {ID: 13, Path: "/b"}}}
		u.sees("the hits' thumbnails", func() bool { return len(u.demo.gallery.Hits()) == 2 && len(u.demo.gallery.Wanted()) == 0 })
		assert.Empty(t, f.asked)
	})
}

// Kernels are compiled before someone types, by a search that nobody sees.
func TestDemoCompilesBeforeSomeoneTypes(t *testing.T) {
	withUser(t, func(u user, f *fakeFinder) {
		assert.Empty(t, <-f.asked)
		f.answers <- gallery.Found{}
		assert.NotEmpty(t, <-f.asked)
		f.answers <- gallery.Found{Hits: []gallery.Hit{{ID: 1, Path: "/unseen"}}}
		u.does(window.Text("c"))
		assert.Equal(t, "c", <-f.asked)
		f.answers <- gallery.Found{Hits: []gallery.Hit{{ID: 2, Path: "/seen"}}}
		u.sees("a hit", func() bool { return len(u.demo.gallery.Hits()) == 1 })
		assert.Equal(t, "/seen", u.demo.gallery.Hits()[0].Path)
		assert.Empty(t, f.asked)
	})
}

func TestDemoEndsWhileSearching(t *testing.T) {
	withUser(t, func(_ user, f *fakeFinder) { <-f.asked })
}

func TestDemoActs(t *testing.T) {
	folder := t.TempDir()
	withUser(t, func(u user, f *fakeFinder) {
		var launched []string
		u.demo.launch = func(program string, args ...string) error {
			launched = append(launched, program+" "+strings.Join(args, " "))
			return nil
		}
		<-f.asked
		path := filepath.Join(folder, "-a b.jpg")
		f.answers <- gallery.Found{Hits: []gallery.Hit{{ID: 1, Path: path}}}
		u.sees("the hit", func() bool { return len(u.demo.gallery.Hits()) == 1 })
		u.does(window.Press{Key: window.KeyEnter}, window.Press{Key: window.KeyEnter, Control: true}, window.Press{Key: window.KeyC, Control: true})
		require.Len(t, launched, 2)
		assert.Contains(t, launched[0], path)
		assert.Contains(t, launched[1], folder)
		if runtime.GOOS == "linux" {
			assert.Equal(t, []string{"xdg-open " + path, "xdg-open " + folder}, launched)
		}
		assert.Equal(t, path, u.screen.clipboard)

		u.demo.launch = launch
		t.Setenv("PATH", folder)
		u.does(window.Press{Key: window.KeyEnter})
		u.sees("that nothing opens it", func() bool { return strings.Contains(u.demo.gallery.Problem(), "not found") })
		u.does(window.Drop{folder})
		u.sees("the search for new pictures", func() bool { return len(f.asked) == 1 })
		u.does(window.Press{Key: window.KeyEscape})
		assert.True(t, u.screen.closed)
	})
}

func TestDemoEndsOnALostGPU(t *testing.T) {
	withUser(t, func(u user, f *fakeFinder) {
		<-f.asked
		f.answers <- gallery.Found{Err: gpu.ErrLost}
		<-u.screen.woken
		require.ErrorIs(t, u.demo.handle(u.ctx, u.screen, window.Wake{}, true), gpu.ErrLost)
	})
}

func channels(c color.RGBA) []float64 { return []float64{float64(c.R), float64(c.G), float64(c.B)} }

// colorInMiddle is that of a picture's file.
func colorInMiddle(t *testing.T, path string) []float64 {
	img, err := preprocess.DecodeFile(path)
	require.NoError(t, err)
	return channels(opaque(img).RGBAAt(img.Width()/2, img.Height()/2))
}

// TestDemoFindsDrawings is the whole demo but for the display.
func TestDemoFindsDrawings(t *testing.T) {
	m, err := clip.Load(t.Context(), "")
	require.NoError(t, err)
	defer m.Close()
	s := &session{console: newConsole(&strings.Builder{}, false), model: m, batch: defaultBatch}
	other := t.TempDir()
	require.NoError(t, os.CopyFS(other, os.DirFS(filepath.Dir(example("pizza")))))
	err = showDrawings(t.Context(), s, &globals{}, func(ctx context.Context, device *gpu.Device, d *demo) error {
		u := user{t, ctx, d, newFakeScreen()}
		hits := func() []gallery.Hit { return u.demo.gallery.Hits() }
		best := func(name string) func() bool {
			return func() bool { return len(hits()) == 16 && filepath.Base(hits()[0].Path) == name }
		}
		u.does(window.Resize{Size: image.Pt(1000, 720), Scale: 1})
		u.sees("all drawings", func() bool { return len(hits()) == 16 })
		for _, r := range "pizza" {
			u.does(window.Text(string(r)))
		}
		u.sees("the pizza", best("pizza.png"))
		u.sees("thumbnails", func() bool { return len(d.gallery.Wanted()) == 0 })
		shown, _, err := d.scene()
		require.NoError(t, err)
		img, err := scene.Render(ctx, device, shown)
		require.NoError(t, err)
		tile := d.gallery.Tile(0)
		at := tile.Min.Add(tile.Size().Div(2))
		assert.InDeltaSlice(t, colorInMiddle(t, example("pizza")), channels(img.RGBAAt(at.X, at.Y)), 12)
		u.does(window.Drop{example("guitar")})
		u.sees("the guitar", best("guitar.png"))
		u.does(window.Text("-guitar +rose:2"))
		u.sees("the rose", best("rose.png"))
		u.does(window.Text(" +"))
		u.sees("what is wrong", func() bool { return strings.Contains(d.gallery.Problem(), "+") })
		u.does(window.Drop{other})
		u.sees("that this model has no folders", func() bool { return strings.Contains(d.gallery.Problem(), "never seen a photograph") })
		return nil
	})
	require.NoError(t, err)
}

// What of a folder is not shown is told, and what is shown is what was asked for.
func TestDemoAddsFolders(t *testing.T) {
	m, err := clip.Load(t.Context(), "")
	require.NoError(t, err)
	defer m.Close()
	o, err := search.Options(t.Context(), m, "emoji-clip")
	require.NoError(t, err)
	x, err := index.Create(filepath.Join(t.TempDir(), "x.db"), o)
	require.NoError(t, err)
	defer x.Close()
	folder := examplePictures(t, "pizza")
	for _, name := range []string{"bad.png", "a.heic"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("bad"), 0o666))
	}
	f := &indexFinder{session: &session{model: m, batch: defaultBatch}, index: x}
	var last gallery.Progress
	f.addFolder(t.Context(), folder, func(p gallery.Progress) { last = p })
	assert.True(t, last.Finished)
	assert.Equal(t, 1, last.Pictures)
	require.EqualError(t, last.Err, "1 file could not be read; left out: 1 HEIC (not supported)")

	// Of a picture's files the one is shown that was asked for.
	named := filepath.Join(folder, "the same pizza.png")
	require.NoError(t, os.Link(filepath.Join(folder, "pizza.png"), named))
	f.addFolder(t.Context(), folder, func(gallery.Progress) {})
	f.searcher, err = search.Open(t.Context(), m, x)
	require.NoError(t, err)
	defer f.searcher.Close()
	found := f.find(t.Context(), gallery.Search{Text: `"same"`})
	require.NoError(t, found.Err)
	require.Len(t, found.Hits, 1)
	assert.Equal(t, named, found.Hits[0].Path)
}
