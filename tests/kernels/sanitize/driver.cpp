// Runs the kernels' handlers on networks of many shapes, from one thread and from several, and feeds
// them malformed operands; for the sanitizers. See run.sh.

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "form.h"
#include "xla.h"

namespace {

// One packed layer's indices, of every network or one for all.
struct Packed {
  Array columns, row_starts;
  Arrays by_column;  // rows, column_starts, order

  Arrays All() const {
    return {columns, row_starts, by_column[0], by_column[1], by_column[2]};
  }
};

// What each layer reads, its activation and whether its sums have a batch norm, what the network
// gives (what the last layer does, where nothing is said), and whether a layer's inputs have a norm.
struct Connections {
  std::vector<Shape> reads;
  Shape activations, normed, gives, input_normed = {};

  static Connections Chain(size_t layers, bool relu_last) {
    Connections chain;
    for (size_t l = 0; l < layers; ++l) {
      chain.reads.push_back({static_cast<int64_t>(l)});
      chain.activations.push_back(l + 1 < layers || relu_last ? sparl::kRelu : sparl::kNone);
    }
    return chain;
  }
};

// `networks` of them, each layer dense (fraction 1 or more) or with about that fraction kept: of its
// weights, or of its circulant blocks if its group is more than 1. Where rows share their columns,
// all keep the same number.
struct Net {
  Net(Shape widths, std::vector<double> fractions, int64_t batch, int64_t networks,
      Connections connections, bool shared, int seed, Shape groups = {},
      Shape shares = {})
      : batch(batch), networks(networks), random(seed), widths(widths), groups(groups),
        shares(shares), connections(connections) {
    if (groups.empty()) this->groups.assign(fractions.size(), 1);
    if (shares.empty()) this->shares.assign(fractions.size(), 1);
    const int64_t depth = fractions.size();
    if (connections.normed.empty()) this->connections.normed.assign(depth, 0);
    if (connections.input_normed.empty()) this->connections.input_normed.assign(depth, 0);
    if (connections.gives.empty()) this->connections.gives = {depth};
    const int64_t stacks = shared ? 1 : networks;  // places that serve all networks
    int64_t value_count = 0;
    for (size_t l = 0; l < fractions.size(); ++l) {
      const int64_t group = this->groups[l], columns = Blocks(Inputs(l), group);
      const int64_t share = this->shares[l], rows = Blocks(widths[l + 1], group * share);
      const bool is_packed = fractions[l] < 1 || group > 1 || share > 1;
      const int64_t per_row = fractions[l] * columns;
      const int64_t kept = share > 1   ? per_row * rows
                           : is_packed ? fractions[l] * rows * columns
                                       : rows * columns;
      this->kept.push_back(is_packed ? kept : -1);
      if (is_packed) packed.push_back(Places(stacks, rows, columns, kept, share > 1));
      value_count += (share > 1 ? per_row * widths[l + 1] : kept * group) + widths[l + 1];
      norm_count += this->connections.normed[l] ? 4 * widths[l + 1] : 0;
      norm_count += this->connections.input_normed[l] ? 4 * Inputs(l) : 0;
    }
    values = Random({networks, value_count + norm_count});
    for (int64_t n = 0; n < networks; ++n) {  // a variance is not below zero
      float* const end = values.floats() + (n + 1) * values.dims[1];
      for (float* at = end - norm_count; at < end; ++at) *at = std::abs(*at);
    }
    PutIndices(stacks);
    x = Random({networks, widths.front(), batch});
    dy = Random({networks, Outputs(), batch});
  }

  static int64_t Blocks(int64_t features, int64_t group) { return (features + group - 1) / group; }

  Array Random(Shape dims) {
    Array array = Floats(std::move(dims));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < array.count; ++i) array.floats()[i] = normal(random);
    return array;
  }

  Packed Places(int64_t stacks, int64_t outputs, int64_t inputs, int64_t kept,
                bool even) {
    Packed layer{Ints({stacks, kept}), Ints({stacks, outputs + 1}),
                 {Ints({stacks, kept}), Ints({stacks, inputs + 1}), Ints({stacks, kept})}};
    for (int64_t n = 0; n < stacks; ++n) {
      int32_t* columns = layer.columns.ints() + n * kept;
      int32_t* starts = layer.row_starts.ints() + n * (outputs + 1);
      int64_t k = 0, places = outputs * inputs;
      for (int64_t r = 0; r < outputs; ++r) {
        starts[r] = k;
        const int64_t end = even ? (r + 1) * (kept / outputs) : kept;
        if (even) places = inputs;
        for (int64_t c = 0; c < inputs; ++c, --places) {
          if (static_cast<int64_t>(random() % places) < end - k) columns[k++] = c;
        }
      }
      starts[outputs] = k;
    }
    Pool alone(1);
    CHECK(Call(sparl::Transpose, alone, {layer.columns, layer.row_starts}, layer.by_column) == "");
    return layer;
  }

  // `indices` from those of the packed layers, as `vectors` of network.py.
  void PutIndices(int64_t stacks) {
    int64_t count = 0;
    for (const Packed& layer : packed) {
      for (const Array& array : layer.All()) count += array.dims[1];
    }
    indices = Ints({stacks, count});
    int32_t* to = indices.ints();
    for (int64_t n = 0; n < stacks; ++n) {
      for (const Packed& layer : packed) {
        for (const Array& array : layer.All()) {
          to = std::copy_n(array.ints() + n * array.dims[1], array.dims[1], to);
        }
      }
    }
  }

  Array Tiled(int64_t features) const {
    const int64_t lanes = sparl::LanesFor(batch);
    return Floats({networks, (batch + lanes - 1) / lanes, features, lanes});
  }
  int64_t Inputs(size_t l) const {
    int64_t inputs = 0;
    for (int64_t value : connections.reads[l]) inputs += widths[value];
    return inputs;
  }
  int64_t Outputs() const {
    int64_t outputs = 0;
    for (int64_t value : connections.gives) outputs += widths[value];
    return outputs;
  }
  bool AnyNormed() const { return norm_count > 0; }
  // As `code` of forms.py.
  Attributes Code() const {
    Attributes code{widths[0], static_cast<int64_t>(connections.gives.size())};
    code.insert(code.end(), connections.gives.begin(), connections.gives.end());
    for (size_t l = 0; l < kept.size(); ++l) {
      const Shape& reads = connections.reads[l];
      code.insert(code.end(), {widths[l + 1], kept[l], groups[l], shares[l],
                               connections.activations[l], connections.normed[l], connections.input_normed[l],
                               static_cast<int64_t>(reads.size())});
      code.insert(code.end(), reads.begin(), reads.end());
    }
    return code;
  }
  // As `taped_features` of forms.py.
  Array Tape() const {
    int64_t features = 0;
    for (size_t l = 0; l < kept.size(); ++l) {
      const int64_t value = l + 1;
      const bool end = std::none_of(connections.reads.begin(), connections.reads.end(), [&](auto& r) {
        return std::count(r.begin(), r.end(), value) > 0;
      });
      if (end && connections.activations[l] != sparl::kNone) features += widths[value];
      features += Inputs(l) + (connections.activations[l] == sparl::kSwish ? widths[l + 1] : 0);
    }
    return Tiled(features + NormedInputs());
  }
  // As by_batch.py has them.
  int64_t NormedSums() const {
    int64_t features = 0;
    for (size_t l = 0; l < kept.size(); ++l) features += connections.normed[l] ? widths[l + 1] : 0;
    return features;
  }
  int64_t NormedInputs() const {
    int64_t features = 0;
    for (size_t l = 0; l < kept.size(); ++l) {
      features += connections.input_normed[l] ? Inputs(l) : 0;
    }
    return features;
  }
  Array TapeByBatch() const { return Tiled(Tape().dims[2] + NormedSums()); }
  Array Statistics() const { return Floats({networks, 2 * (NormedSums() + NormedInputs())}); }
  Arrays GradientsByBatch(bool of_x) const {
    return {Floats({networks, values.dims[1]}), Floats({networks, of_x ? widths[0] : 0, batch}),
            Tiled(Deltas().dims[2] + (of_x ? widths[0] : 0) + NormedInputs())};
  }
  // As `delta_features` of forms.py.
  Array Deltas() const {
    int64_t features = 0;
    for (size_t l = 0; l < groups.size(); ++l) {
      const int64_t group = groups[l];
      features += group * Blocks(widths[l + 1], group);
      if (group > 1) features += group * Blocks(Inputs(l), group);
    }
    return Tiled(features);
  }
  Array Y() const { return Floats({networks, Outputs(), batch}); }
  // dvalues, dx and deltas, where they are wanted.
  Arrays Gradients(bool of_values, bool of_x) const {
    return {Floats({networks, of_values ? values.dims[1] : 0}),
            Floats({networks, of_x ? widths[0] : 0, batch}),
            of_values ? Deltas() : Tiled(0)};
  }

  // Everything that the handlers make of it.
  Arrays All(Pool& pool) const {
    const Attributes attributes = Code();
    const Array y = Do(sparl::Infer, pool, {x, values, indices}, {Y()}, attributes)[0];
    const Arrays forward =
        Do(sparl::Forward, pool, {x, values, indices}, {Y(), Tape()}, attributes);
    CHECK(forward[0] == y);
    CHECK(Here() == y);

    const auto backward = [&](bool of_values, bool of_x) {
      return Do(sparl::Backward, pool, {dy, forward[1], values, indices},
                Gradients(of_values, of_x), attributes);
    };
    const Arrays both = backward(!AnyNormed(), true);
    if (!AnyNormed()) CHECK(backward(true, false)[0] == both[0]);
    CHECK(backward(false, true)[1] == both[1]);

    for (const Packed& layer : packed) {
      const Array kept = Floats({networks, layer.columns.dims[1]});
      std::copy_n(values.floats(), kept.count, kept.floats());
      const Array whole =
          Floats({networks, layer.row_starts.dims[1] - 1, layer.by_column[1].dims[1] - 1});
      const Arrays places{layer.columns, layer.row_starts};
      const Array dense = Do(sparl::Expand, pool, {kept, places[0], places[1]}, {whole})[0];
      CHECK(Do(sparl::Gather, pool, {dense, places[0], places[1]}, {Floats(kept.dims)})[0] == kept);
    }
    Arrays found{y, forward[1], both[0], both[1], both[2]};
    for (float renormalise : {0.0f, 1.0f}) {
      if (!AnyNormed()) break;
      const Arrays trained = ByBatch(pool, true, renormalise);
      CHECK(ByBatch(pool, false, renormalise)[3] == trained[3]);
      found.insert(found.end(), trained.begin(), trained.end());
    }
    return found;
  }

  // What the handlers make of it while all batch norms are trained: y, tape, statistics, and what
  // comes back. With renormalisation that is of the first half of the samples alone.
  Arrays ByBatch(Pool& pool, bool of_x, float renormalise) const {
    const Attributes attributes = Code();
    const Array flag = Flag(renormalise);
    const Shape wanted{networks, Outputs(), renormalise ? batch / 2 : batch};
    const Array some_dy = Floats(wanted);
    std::copy_n(dy.floats(), some_dy.count, some_dy.floats());
    Arrays found = Try(sparl::ForwardByBatch, pool, {x, flag, values, indices},
                       {Floats(wanted), TapeByBatch(), Statistics()}, attributes);
    CheckWritten(found[0]), CheckWritten(found[2]);
    if (!renormalise) CheckWritten(found[1]);  // else what comes behind the last norm has holes
    const Arrays backward =
        Do(sparl::BackwardByBatch, pool, {some_dy, found[1], found[2], flag, values, indices},
           GradientsByBatch(of_x), attributes);
    found.insert(found.end(), backward.begin(), backward.end());
    return found;
  }

  static Array Flag(float value) {
    const Array flag = Floats({1, 1});
    *flag.floats() = value;
    return flag;
  }

  // y outside XLA, network by network.
  Array Here() const {
    const Array y = Y();
    std::vector<float> one(y.count / networks);
    const Attributes code = Code();
    const sparl::Form form({code.data(), code.size()});
    for (int64_t n = 0; n < networks; ++n) {
      const int64_t stack = indices.dims[0] == 1 ? 0 : n;
      const std::string wrong = sparl::InferHere(
          form, values.floats() + n * values.dims[1], values.dims[1],
          indices.ints() + stack * indices.dims[1], indices.dims[1],
          x.floats() + n * x.dims[1] * batch, one.data(), batch);
      CHECK(wrong.empty());
      std::copy(one.begin(), one.end(), y.floats() + n * one.size());
    }
    return y;
  }

  int64_t batch, networks, norm_count = 0;
  std::mt19937 random;
  Shape widths, kept, groups, shares;
  Connections connections;
  std::vector<Packed> packed;
  Array values = Floats({}), indices = Ints({}), x = Floats({}), dy = Floats({});
};

std::vector<Net> Nets() {
  std::vector<Net> nets;
  int seed = 0;
  const auto add = [&](Shape widths, std::vector<double> fractions, int64_t batch,
                       int64_t networks = 1, bool relu_last = false, bool shared = false,
                       Shape groups = {}) {
    const Connections chain = Connections::Chain(fractions.size(), relu_last);
    nets.emplace_back(widths, fractions, batch, networks, chain, shared, ++seed, groups);
  };
  // Values read in other orders, late, and more than once; every activation, at the end, too.
  const Connections densenet{{{0}, {1, 0}, {2, 1, 0}}, {sparl::kSwish, sparl::kRelu, sparl::kNone},
                             {}, {}};
  const Connections tangled{{{0, 0}, {0}, {1, 0, 1}, {3, 2, 0}},
                            {sparl::kElu, sparl::kRelu, sparl::kTanh, sparl::kSwish}, {}, {}};
  // Batch norms, and several values given: inputs, ends with an activation and without, some twice.
  const Connections tower{{{0}, {1, 0}, {2, 1, 0}}, {sparl::kSwish, sparl::kRelu, sparl::kTanh},
                          {1, 1, 1}, {3, 2, 1, 0}};
  const Connections several{{{0}, {1}, {1, 0}, {0}}, {sparl::kRelu, sparl::kNone, sparl::kElu,
                                                     sparl::kSwish}, {}, {1, 4, 0, 3, 1, 2}};
  const Connections normed{{{0}, {1}}, {sparl::kRelu, sparl::kRelu}, {0, 1}, {}};
  const Connections trained{{{0}, {1, 0, 1}, {0}}, {sparl::kElu, sparl::kNone, sparl::kNone},
                            {1, 1, 1}, {3, 0, 1, 2, 1}};
  // Norms of inputs: of each layer, of some beside norms of sums, and of what is read elsewhere, too.
  const Connections behind{{{0}, {1}, {2}}, {sparl::kRelu, sparl::kSwish, sparl::kNone},
                           {0, 0, 0}, {}, {1, 1, 1}};
  const Connections mixed{{{0}, {1, 0, 1}, {0}}, {sparl::kElu, sparl::kTanh, sparl::kNone},
                          {1, 0, 0}, {3, 0, 1, 2, 1}, {0, 1, 1}};
  for (int64_t batch : {1, 16, 33, 65}) {
    nets.emplace_back(Shape{7, 13, 5, 1}, std::vector<double>{1, 0.4, 0.7}, batch, 2, densenet,
                      batch > 16, ++seed);
    nets.emplace_back(Shape{5, 0, 9, 12, 3}, std::vector<double>{0.5, 1, 0.3, 0.6}, batch, 1, tangled,
                      false, ++seed);
    nets.emplace_back(Shape{6, 17, 20, 9, 3}, std::vector<double>{0.5, 1, 0.3, 1}, batch, 2, tangled,
                      false, ++seed, Shape{4, 2, 8, 1});
    nets.emplace_back(Shape{7, 13, 5, 11}, std::vector<double>{1, 0.4, 0.7}, batch, 2, tower,
                      batch > 16, ++seed, Shape{1, 1, 4});
    nets.emplace_back(Shape{7, 13, 5, 11, 9}, std::vector<double>{1, 0.4, 0.7, 0.5}, batch, 2, several,
                      false, ++seed, Shape{1, 2, 1, 4});
    nets.emplace_back(Shape{9, 17, 6}, std::vector<double>{0.5, 1}, batch, 1, normed, false, ++seed);
    nets.emplace_back(Shape{9, 17, 6, 30}, std::vector<double>{0.5, 1, 0.7}, batch, 2, trained,
                      batch > 16, ++seed, Shape{2, 1, 16});
    nets.emplace_back(Shape{9, 17, 6, 3}, std::vector<double>{1, 0.5, 1}, batch, 2, behind,
                      batch > 16, ++seed);
    nets.emplace_back(Shape{9, 17, 6, 30}, std::vector<double>{0.5, 1, 0.7}, batch, 2, mixed,
                      batch > 16, ++seed, Shape{2, 1, 16});
    // Rows that share their columns: any number of them, also more than there are.
    nets.emplace_back(Shape{7, 13, 5, 11}, std::vector<double>{1, 0.4, 0.7}, batch, 2, tower,
                      batch > 16, ++seed, Shape{1, 1, 1}, Shape{2, 16, 4});
    nets.emplace_back(Shape{9, 17, 6, 30}, std::vector<double>{0.5, 0.3, 0.7}, batch, 2, mixed,
                      batch > 16, ++seed, Shape{1, 1, 1}, Shape{8, 3, 7});
    nets.emplace_back(Shape{40, 75, 33}, std::vector<double>{0.2, 0.0}, batch, 2,
                      Connections::Chain(2, false), batch > 16, ++seed, Shape{1, 1}, Shape{8, 2});
  }
  // A dense layer so wide that its weights are transposed first.
  add({3, 515, 67, 2}, {1, 1, 1}, 33, 2, false);
  for (int64_t batch : {0, 1, 2, 15, 16, 17, 31, 32, 33, 65}) {
    add({7, 13, 5, 1}, {1, 0.4, 0.7}, batch, 1, batch % 2);
    add({19, 3, 23}, {0.1, 1}, batch, 3, batch % 2 == 0, batch > 16);
    add({21, 34, 50, 5}, {1, 0.4, 0.7}, batch, 2, batch % 2, batch > 16, {4, 16, 2});
  }
  for (int64_t group : {2, 4, 8, 16}) {
    for (int64_t width : {1, 3, 16, 33}) {  // blocks cut short
      add({width, 35 - width, 40}, {1, 0.5}, 40, 1, false, false, {group, group});
    }
    add({64, 60}, {1}, 1027, 1, false, false, {group});
    add({30, 8}, {0.0}, 5, 1, false, false, {group});
    add({9, 0, 3}, {1, 1}, 5, 1, false, false, {group, group});
  }
  add({40, 50, 33, 7}, {0.5, 0.6, 1}, 128, 2, false, true, {8, 1, 1});
  for (int64_t width : {1, 2, 3, 4, 5, 8, 9, 12, 14, 17, 28, 29, 43}) {  // ends of blocks
    add({width, 44 - width, width}, {1, 1}, 20), add({width, 44 - width, width}, {0.5, 0.9}, 40);
  }
  add({9, 40, 6}, {0.02, 0.999}, 33, 2);  // hardly any, nearly all
  add({30, 8}, {0.0}, 5);                 // nothing kept
  add({5, 0, 3}, {1, 0.5}, 5);            // nothing in between
  add({23, 120, 130, 1}, {0.125, 0.125, 1}, 256);
  add({40, 150, 33}, {0.5, 0.6}, 128, 2);
  add({64, 70, 2}, {0.45, 0.5}, 1027);
  return nets;
}

// Of networks of which both layers have places; with blocks, of as many rows and columns of them.
void Malformed(Pool& pool, int64_t group) {
  const auto refused = [&](auto&& change, const char* message) {
    Net net({6 * group, 9 * group, 5 * group}, {0.5, 0.4}, 33, 2, Connections::Chain(2, false), false,
            1, {group, group});
    const Array tape = net.Tape(), y = net.Y();
    const Array by_batch = net.TapeByBatch(), statistics = net.Statistics();
    const Arrays gradients = net.Gradients(true, true), trained = net.GradientsByBatch(true);
    change(net);
    const Attributes attributes = net.Code();
    const Arrays there{net.x, net.values, net.indices};
    std::string all = Call(sparl::Infer, pool, there, {y}, attributes);
    all += Call(sparl::Forward, pool, there, {y, tape}, attributes);
    all += Call(sparl::Backward, pool, {net.dy, tape, net.values, net.indices}, gradients,
                attributes);
    const Array flag = Net::Flag(0);
    all += Call(sparl::ForwardByBatch, pool, {net.x, flag, net.values, net.indices},
                {y, by_batch, statistics}, attributes);
    all += Call(sparl::BackwardByBatch, pool,
                {net.dy, by_batch, statistics, flag, net.values, net.indices}, trained, attributes);
    const Packed& layer = net.packed[0];
    all += Call(sparl::Transpose, pool, {layer.columns, layer.row_starts}, layer.by_column);
    if (all.find(message) == std::string::npos) std::fprintf(stderr, "'%s'\n", all.c_str());
    CHECK(all.find(message) != std::string::npos);
  };
  for (int32_t bad : {-1, 9, 1 << 30, INT32_MIN, INT32_MAX}) {
    for (size_t l : {0, 1}) {  // and in the first network as well as in the last
      for (bool last : {false, true}) {
        const auto set = [=](Net& net, auto&& array) {
          Array& a = array(net.packed[l]);
          a.ints()[last ? a.count - 1 : 0] = bad;
          net.PutIndices(2);
        };
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.columns; }); },
                "a column is outside");
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.row_starts; }); },
                "row_starts");
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.by_column[1]; }); },
                "column_starts");
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.by_column[0]; }); },
                "column-wise");
        if (bad == 9) continue;  // there are as many values
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.by_column[2]; }); },
                "column-wise");
      }
    }
  }
  refused([](Net& n) { n.values = Floats({2, 1}); }, "values has shape");
  refused([](Net& n) { n.values = Floats({3, n.values.dims[1]}); }, "values has shape");
  refused([](Net& n) { n.indices = Ints({2, n.indices.dims[1] - 1}); }, "indices has shape");
  refused([](Net& n) { n.x = Floats({2, n.x.dims[1], 32}); }, "x has shape");
  refused([](Net& n) { n.dy = Floats({2, n.dy.dims[1], 32}); }, "dy has shape");
  refused([](Net& n) { n.kept[1] = -1, n.groups[1] = 1; }, "values has shape");
  refused([](Net& n) { n.kept[1] = -2; }, "layer 1");
  for (int64_t share : {-1, 0, 17}) {
    refused([=](Net& n) { n.shares[1] = share; }, "layer 1: from 1 to 16 packed rows");
  }
  refused([](Net& n) { n.groups[1] = 16; }, "values has shape");
  refused([](Net& n) { n.groups[1] = 3; }, "layer 1: blocks have");
  refused([](Net& n) { n.groups[1] = 0; }, "layer 1: blocks have");
  refused([](Net& n) { n.widths[1] = -9; }, "layer 0");
  refused([](Net& n) { n.widths[1] = INT64_MAX; }, "layer 0");
  refused([](Net& n) { n.connections.activations[1] = sparl::kRelu; }, "tape has shape");
  refused([](Net& n) { n.connections.activations[1] = 5; }, "layer 1: there is no activation 5");
  refused([](Net& n) { n.connections.reads[1] = {2}; }, "layer 1: it reads value 2");
  refused([](Net& n) { n.connections.reads[1] = {-1}; }, "layer 1: it reads value -1");
  refused([](Net& n) { n.connections.reads[1] = {0}; }, "value 1 is read by no layer");
  refused([](Net& n) { n.connections.normed[1] = 1; }, "values has shape");
  refused([](Net& n) { n.connections.normed[1] = 1; }, "no gradients of values behind batch norms");
  refused([](Net&) {}, "the network has no batch norm to train");
  refused([](Net& n) { n.connections.input_normed[1] = 1; }, "values has shape");
  refused([](Net& n) { n.connections.input_normed[1] = 2; }, "layer 1: it has a batch norm or");
  refused([](Net& n) { n.connections.normed = {1, 1}; }, "values has shape");
  refused([](Net& n) { n.connections.normed[1] = 2; }, "layer 1: it has a batch norm or");
  refused([](Net& n) { n.connections.gives = {1}; }, "value 2 is read by no layer and not given");
  refused([](Net& n) { n.connections.gives = {2, 2}; }, "value 2 is read by no layer and given more");
  refused([](Net& n) { n.connections.gives = {2, 1}; }, "y has shape");
  refused([](Net& n) { n.connections.gives = {2, 3}; }, "value 3 is given, and there are 0..2");
  refused([](Net& n) { n.connections.gives = {2, -1}; }, "value -1 is given");
  refused([](Net& n) { n.connections.reads[1] = {}; }, "layer 1: its form is cut short");
}

}  // namespace

int main() {
  Pool one(1), four(4);
  const std::vector<Net> nets = Nets();
  for (const char* name : {"avx512", "avx2+fma", "portable", "neon"}) {
    if (!sparl::ForcePath(name)) {
      std::printf("%s: cannot run here\n", name);
      continue;
    }
    std::vector<Arrays> wanted;
    for (const Net& net : nets) wanted.push_back(net.All(one));
    for (size_t i = 0; i < nets.size(); ++i) CHECK(nets[i].All(four) == wanted[i]);

    // Handlers that run at the same time, on threads of the pool themselves, as XLA's do.
    std::atomic<int64_t> left{4 * static_cast<int64_t>(nets.size())};
    for (size_t i = 0; i < 4 * nets.size(); ++i) {
      four.Schedule([&, i = i % nets.size()] {
        CHECK(nets[i].All(four) == wanted[i]);
        --left;
      });
    }
    while (left) std::this_thread::yield();
    std::printf("%s: %zu networks\n", name, nets.size());
    std::fflush(stdout);
  }
  for (int64_t group : {1, 4}) Malformed(one, group), Malformed(four, group);
  std::printf("malformed operands: refused\n");
}
