// Metrics: what Prometheus scrapes; docs/ADMIN_API.md lists them.
//
// Thread-safety: a value.

#pragma once

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>

#include <string>
#include <vector>

namespace duet::admin {

struct ProcedureCounters;
struct Response;

class Metrics {
 public:
  using Labels = std::vector<prometheus::ClientMetric::Label>;

  // `always`: the labels that each metric has.
  explicit Metrics(Labels always = {}) : always_(std::move(always)) {}

  // Metrics of one name are added one after another; the first one's help counts.
  void gauge(const char* name, const char* help, double value, Labels labels = {});
  void counter(const char* name, const char* help, double value, Labels labels = {});
  void histogram(const char* name, const char* help, const ProcedureCounters& counted,
                 Labels labels);
  void merge(Metrics other);

  // In Prometheus's text format.
  [[nodiscard]] std::string text() const;

 private:
  prometheus::ClientMetric& add(const char* name, const char* help, prometheus::MetricType type,
                                Labels labels);
  Labels always_;
  std::vector<prometheus::MetricFamily> families_;
};

[[nodiscard]] Response metrics_response(const Metrics& metrics);

}  // namespace duet::admin
