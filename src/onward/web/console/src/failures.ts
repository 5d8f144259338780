// The group of all errors of an hour beyond those that the history keeps. No job has this error itself.
interface Group { code: string; message: string }

export const FURTHER = 'Further errors: the history keeps 50 kinds an hour of a handler.';
export const isFurther = ({ code, message }: Group): boolean => code === 'OTHER' && message === 'further errors of this hour';
