#include "src/predict/one_class_svm.hpp"

#include <libsvm/svm.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace driftlock {
namespace {

constexpr double kLeastScale = 1e-12;
constexpr double kFarthest = 1e4;  // deviations: the kernel is 0 long before

// cos(2 pi turns) within 3e-6, by a polynomial after folding to a quarter turn: a library's cosine
// took half of the time of a score. |turns| below 2^21; beyond, the fraction is lost and any value
// do.
float cosine_of_turns(float turns) {
  // Adding and taking away 1.5 * 2^23 rounds to a whole number without a call.
  constexpr float kRound = 12582912.0F;
  const float whole = (turns + kRound) - kRound;
  const float x = 0.25F - std::fabs(turns - whole);  // cos(2 pi t) = sin(2 pi (1/4 - |t|))
  const float y = 2.0F * std::numbers::pi_v<float> * std::clamp(x, -0.25F, 0.25F);
  const float y2 = y * y;
  return y * (1.0F + y2 * (-1.0F / 6.0F + y2 * (1.0F / 120.0F +
                                                y2 * (-1.0F / 5040.0F + y2 * (1.0F / 362880.0F)))));
}

// libsvm ends a row with index -1.
void fill(std::span<const double> row, std::span<svm_node> nodes) {
  for (std::size_t i = 0; i < row.size(); ++i) nodes[i] = {static_cast<int>(i) + 1, row[i]};
  nodes[row.size()] = {-1, 0.0};
}

svm_parameter parameters(double nu, std::size_t columns) {
  svm_parameter parameter{};
  parameter.svm_type = ONE_CLASS;
  parameter.kernel_type = RBF;
  parameter.gamma = 1.0 / static_cast<double>(columns);
  parameter.nu = nu;
  parameter.cache_size = 200.0;  // MB
  parameter.eps = 1e-3;
  parameter.shrinking = 1;
  return parameter;
}

}  // namespace

Standardizer::Standardizer(const Matrix& data) : means_(data.columns()), scales_(data.columns()) {
  const auto rows = static_cast<double>(data.rows());
  for (std::size_t column = 0; column < data.columns(); ++column) {
    double sum = 0.0;
    for (std::size_t i = 0; i < data.rows(); ++i) sum += data.at(i, column);
    means_[column] = sum / rows;
    double squares = 0.0;
    for (std::size_t i = 0; i < data.rows(); ++i) {
      const double off = data.at(i, column) - means_[column];
      squares += off * off;
    }
    const double deviation = std::sqrt(squares / rows);
    scales_[column] = deviation > kLeastScale ? 1.0 / deviation : 1.0;
  }
}

void Standardizer::apply(std::span<const double> row, std::span<double> out) const {
  for (std::size_t i = 0; i < row.size(); ++i) out[i] = (row[i] - means_[i]) * scales_[i];
}

// The model refers to the rows it was trained on: they live as long as it does.
struct OneClassSvm::Model {
  std::vector<svm_node> nodes;
  std::vector<svm_node*> rows;
  std::vector<double> labels;
  svm_model* model = nullptr;
};

OneClassSvm::OneClassSvm(const Matrix& data, double nu)
    : standardizer_(data), model_(std::make_unique<Model>()) {
  const std::size_t stride = data.columns() + 1;
  model_->nodes.resize(data.rows() * stride);
  model_->labels.assign(data.rows(), 1.0);
  std::vector<double> standardized(data.columns());
  for (std::size_t i = 0; i < data.rows(); ++i) {
    standardizer_.apply(data.row(i), standardized);
    fill(standardized, {&model_->nodes[i * stride], stride});
    model_->rows.push_back(&model_->nodes[i * stride]);
  }
  svm_problem problem{};
  problem.l = static_cast<int>(data.rows());
  problem.x = model_->rows.data();
  problem.y = model_->labels.data();
  const svm_parameter parameter = parameters(nu, data.columns());
  DRIFTLOCK_ASSERT(svm_check_parameter(&problem, &parameter) == nullptr);
  svm_set_print_string_function([](const char*) {});
  model_->model = svm_train(&problem, &parameter);
}

OneClassSvm::~OneClassSvm() {
  svm_free_and_destroy_model(&model_->model);
}

double OneClassSvm::score(std::span<const double> row) const {
  std::vector<double> standardized(row.size());
  standardizer_.apply(row, standardized);
  std::vector<svm_node> nodes(row.size() + 1);
  fill(standardized, nodes);
  double decision = 0.0;
  svm_predict_values(model_->model, nodes.data(), &decision);
  return -decision;
}

OnlineOneClassSvm::OnlineOneClassSvm(std::size_t columns, std::uint64_t seed, double nu,
                                     double rate, std::size_t features)
    : columns_(columns),
      features_(features),
      nu_(nu),
      rate_(rate),
      directions_(features * columns),
      phases_(features),
      means_(columns),
      variances_(columns, 1.0),
      weights_(features),
      mapped_(features) {
  DRIFTLOCK_ASSERT(features % 4 == 0);
  Random random(seed);
  // Standard deviation sqrt(2 gamma) radians; kept in turns.
  const double deviation = std::sqrt(2.0 / static_cast<double>(columns)) / (2.0 * std::numbers::pi);
  for (float& direction : directions_) {
    direction = static_cast<float>(deviation * random.normal());
  }
  for (float& phase : phases_) phase = static_cast<float>(random.uniform());
}

// Column by column, so that the inner loops run over the features and become vector instructions.
void OnlineOneClassSvm::map(std::span<const double> row) const {
  std::copy(phases_.begin(), phases_.end(), mapped_.begin());
  for (std::size_t i = 0; i < columns_; ++i) {
    const double off = (row[i] - means_[i]) / std::sqrt(std::max(variances_[i], kLeastScale));
    const auto x = static_cast<float>(std::clamp(off, -kFarthest, kFarthest));
    const float* direction = &directions_[i * features_];
    for (std::size_t f = 0; f < features_; ++f) mapped_[f] += direction[f] * x;
  }
  const float scale = std::sqrt(2.0F / static_cast<float>(features_));
  for (float& angle : mapped_) angle = scale * cosine_of_turns(angle);
}

double OnlineOneClassSvm::score(std::span<const double> row) const {
  map(row);
  // Four sums side by side, which the compiler may not split one into.
  std::array<float, 4> products{};
  for (std::size_t f = 0; f < features_; f += products.size()) {
    for (std::size_t k = 0; k < products.size(); ++k)
      products[k] += weights_[f + k] * mapped_[f + k];
  }
  return rho_ - static_cast<double>(products[0] + products[1] + products[2] + products[3]);
}

// Stochastic subgradient of the objective divided by nu, so that w is a weighted mean of the mapped
// points that lie outside or on the boundary: w += rate ([outside] phi / nu - w).
double OnlineOneClassSvm::learn(std::span<const double> row) {
  ++learnt_;
  const double rate = std::max(rate_, 1.0 / static_cast<double>(learnt_));
  const double before = score(row);
  const bool outside = before >= 0.0;
  const auto pull = static_cast<float>(outside ? rate / nu_ : 0.0);
  const float keep = 1.0F - static_cast<float>(rate);
  for (std::size_t f = 0; f < features_; ++f) weights_[f] = keep * weights_[f] + pull * mapped_[f];
  // rho follows the quantile nu of the products.
  rho_ += rate * (outside ? -(1.0 - nu_) : nu_);
  for (std::size_t i = 0; i < columns_; ++i) {
    const double off = row[i] - means_[i];
    means_[i] += rate * off;
    if (learnt_ > 1) variances_[i] = (1.0 - rate) * (variances_[i] + rate * off * off);
  }
  return before;
}

}  // namespace driftlock
