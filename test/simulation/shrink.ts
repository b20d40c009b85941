import type { Plan } from './plan.ts';

/** Leaves out of a failing plan what it fails without, in at most `runs` runs. */
export async function shrink(plan: Plan, fails: (plan: Plan) => Promise<boolean>, runs = 80): Promise<Plan> {
  let { actions } = plan;
  let left = runs;
  for (let size = Math.ceil(actions.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < actions.length && left > 0;) {
      const fewer = actions.toSpliced(from, size);
      left -= 1;
      if (await fails({ ...plan, actions: fewer })) actions = fewer;
      else from += size;
    }
  }
  return { ...plan, actions };
}
