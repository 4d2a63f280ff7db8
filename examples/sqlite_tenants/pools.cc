#include "pools.h"

namespace tenants {

Outcome<void> make_pools(vmm::Host& host, const Options& options) {
  struct Pool {
    const char* name;
    vmm::Shares shares;
  };
  for (const Pool& pool : {Pool{kProduction, options.production_shares}, Pool{kBatch, options.batch_shares}}) {
    vmm::PoolOptions pool_options;
    pool_options.shares = pool.shares;
    if (auto made = host.create_pool(pool.name, pool_options); !made) return fail(made.error().message());
  }
  return {};
}

}  // namespace tenants
